"""The load of a server: every session gets its own words, and the table says what was carried."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.serve_load import Load, main, table


def test_a_small_load_is_carried(tmp_path: Path) -> None:
    words = ["--quick", "--models", "large", "--backends", "torch", "--sessions", "1", "3"]
    assert main([*words, "--seconds", "6", "--output", str(tmp_path)]) == 0
    loads = json.loads((tmp_path / "serve-load.json").read_text())["loads"]
    assert loads[0]["sessions"] == 1 and all(not one["wrong"] for one in loads)
    assert loads[0]["words"] > 0 and loads[0]["p50"] <= loads[0]["p99"] <= loads[0]["worst"]
    assert "| PyTorch" in (tmp_path / "serve-load.md").read_text()


def test_a_load_is_carried_if_all_words_are_right_and_in_time() -> None:
    right = Load("demo", "torch", 4, 100, 0, 50.0, 480.0, 700.0, 480.0, 0.5)
    late = Load("demo", "torch", 8, 100, 0, 50.0, 480.1, 700.0, 480.0, 0.9)
    wrong = Load("demo", "torch", 8, 100, 1, 50.0, 100.0, 200.0, 480.0, 0.9)
    assert [one.carried for one in (right, late, wrong)] == [True, False, False]
    rows = table([right, late, wrong]).splitlines()[2:]
    assert [row.split("|")[-2].strip() for row in rows] == ["yes", "no", "no: 1 wrong"]
