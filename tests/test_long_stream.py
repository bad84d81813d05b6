"""The benchmark of long streams prints what it measured; its times are not judged here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_model import make_model_folder

from benchmarks.long_stream import main


def test_it_prints_equal_state_bytes_early_and_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_model_folder(tmp_path / "model")
    assert main(["--model-path", str(folder), "--minutes", "1", "--window", "3"]) == 0
    header, rule, *lines = capsys.readouterr().out.splitlines()
    assert "at 10 s | at 1 min | ratio" in header
    assert rule.count("|") == header.count("|") == 5
    states = [line for line in lines if "state of one stream" in line]
    assert len(states) == 2
    for line, of in zip(states, ("network on features", "session on audio"), strict=True):
        _, name, early, late, ratio, _ = (cell.strip() for cell in line.split("|"))
        assert of in name
        assert early == late
        assert int(early.replace(",", "")) > 0
        assert ratio == "1.000"
    times = [line for line in lines if "median time of a step (ms)" in line]
    assert len(times) == 2
    assert all(re.search(r"\| [0-9.]+ \| [0-9.]+ \| [0-9.]+ \|$", line) for line in times)
    assert any("1 thread" in line and "medians of 3 steps" in line for line in lines)


@pytest.mark.parametrize("words", [("--segment-ms", "200"), ("--minutes", "0"), ("--window", "0")])
def test_what_it_cannot_measure_is_refused(words: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    assert stopped.value.code == 2
