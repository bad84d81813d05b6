"""The profile of a step names the nodes that a step has."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from benchmarks import profile_step
from benchmarks.fixtures import Bench
from benchmarks.profile_step import main


@pytest.mark.slow
def test_the_profile_counts_the_products_of_the_step(
    exported_encoder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = lambda scale: nullcontext(Bench(scale, exported_encoder))  # noqa: E731
    monkeypatch.setattr(profile_step, "opened", ready)
    assert main(["--quick"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "|" in line]
    counts = {row[0].strip("| "): int(row[1]) for row in rows[2:]}
    # Eight a block, one block a stack; the memory bank projects in and out, and its summaries.
    assert counts["Gemm"] == 6 * 8 + 3
