"""The profile of a step names the nodes that a step has."""

from __future__ import annotations

import pytest

from eval.bench.profile_step import main


@pytest.mark.slow
def test_the_profile_counts_the_products_of_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "|" in line]
    counts = {row[0].strip("| "): int(row[1]) for row in rows[2:]}
    # Eight a block, one block a stack; the memory bank projects in and out, and its summaries.
    assert counts["Gemm"] == 6 * 8 + 3
