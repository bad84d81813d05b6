"""The soak of a server: every session gets its words, and growth is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.serve_soak import Soak, Usage, main


def test_a_short_soak_gives_every_session_its_words(tmp_path: Path) -> None:
    words = ["--quick", "--minutes", "0.2", "--sessions", "4", "--output", str(tmp_path)]
    main(words)  # memory may grow in the first seconds
    found = json.loads((tmp_path / "serve-soak.json").read_text())
    assert found["ended"] >= 4 and found["vanished"] >= 1 and found["wrong"] == 0
    assert found["lags"] and len(found["usages"]) >= 6
    assert "| end" in (tmp_path / "serve-soak.md").read_text()


@pytest.mark.parametrize(
    ("end", "flat"),
    [
        ((309.0, 20, 8), True),
        ((311.0, 20, 8), False),
        ((300.0, 21, 8), False),
        ((300.0, 20, 9), False),
        ((250.0, 10, 4), True),
    ],
)
def test_growth_of_memory_files_or_threads_is_no_flat_line(
    end: tuple[float, int, int], flat: bool
) -> None:
    before = [Usage(minute, 300.0, 20, 8) for minute in range(11)]
    assert Soak(usages=[Usage(0, 90.0, 9, 3), *before[1:], Usage(11, *end)]).flat is flat
