"""The backlog of speech: a player that is stepped through by the millisecond, and whole runs."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
from run_logs import speech_line, text_line, write_run

from echostream.cli import main
from echostream.scoring.log import ScoringError, read_complete_log
from echostream.scoring.metrics.backlog import BACKLOG_COLUMNS, Backlog, backlog, run_backlog
from echostream.scoring.metrics.offsets import end_offset
from echostream.scoring.metrics.table import playback_ends
from echostream.scoring.simuleval_scores import Counting
from echostream.scoring.simuleval_speech import OF_SIMULEVAL, score_speech
from echostream.scoring.timeline import Timeline


def timeline(delays: list[int], durations: list[int], source_ms: int) -> Timeline:
    return Timeline(tuple(delays), (), source_ms, 4, tuple(durations))


def stepped(delays: list[int], durations: list[int], source_ms: int) -> Backlog:
    """The same by a player that plays one ms of what waits in each ms."""
    waiting = longest = at_end = 0
    for now in range(max([source_ms, *delays]) + 1):
        waiting += sum(d for delay, d in zip(delays, durations, strict=True) if delay == now)
        longest = max(longest, waiting)
        if now == source_ms:
            at_end = waiting
        waiting = max(0, waiting - 1)
    return Backlog(longest, at_end)


@pytest.mark.parametrize("num", range(7))
def test_the_backlog_is_that_of_a_player_that_is_stepped_through(num: int) -> None:
    rng = random.Random(num)
    for _ in range(40):
        source_ms = rng.randrange(1, 60)
        delays = sorted(rng.randrange(source_ms + 1) for _ in range(num))
        durations = [rng.randrange(1, 25) for _ in range(num)]
        found = backlog(timeline(delays, durations, source_ms))
        assert found == stepped(delays, durations, source_ms), (delays, durations, source_ms)


def test_the_backlog_at_the_end_is_the_end_offset_or_nothing() -> None:
    late, early = timeline([100, 400], [300, 200], 400), timeline([100], [200], 400)
    assert backlog(late).at_end == end_offset(playback_ends(late), 400) == 200
    assert end_offset(playback_ends(early), 400) == -100 and backlog(early).at_end == 0


def test_a_run_has_the_mean_and_the_largest() -> None:
    found = run_backlog([timeline([100, 400], [300, 200], 400), timeline([100], [500], 400)])
    assert found == (400, 500, 200, 200)
    assert run_backlog([]) is None


def test_the_command_score_reports_the_backlog_of_every_run_of_speech(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A source of 4 s; the silent utterance does not count.
    lines = [speech_line(0, [1000, 4000], [500, 900]), speech_line(1, [3900], [400])]
    path = write_run(tmp_path / "run", [*lines, speech_line(2, [], [])])
    assert main(["score", str(path.parent)]) == 0
    assert "Backlog, speech that is written and not yet played" in capsys.readouterr().out
    with open(path.parent / "echostream_scores.tsv", newline="") as file:
        row = next(csv.DictReader(file, delimiter="\t"))
    assert [float(row[name]) for name in BACKLOG_COLUMNS] == [650, 900, 600, 900]
    scores = json.loads((path.parent / "echostream_scores.json").read_text())
    assert scores["backlog"] == {
        "longest": 650,
        "longest_max": 900,
        "at_end": 600,
        "at_end_max": 900,
    }


def test_a_complete_run_of_speech_is_read_as_speech_alone(tmp_path: Path) -> None:
    spoken = write_run(tmp_path / "speech", [speech_line(0, [1000, 4000], [500, 900])])
    written = write_run(tmp_path / "text", [text_line(0, "the cat", [1000, 2000])])
    scores = score_speech(read_complete_log(spoken, 1, "write"), Counting("write"))
    assert scores.of_simuleval.keys() == set(OF_SIMULEVAL)
    assert (scores.NumChunks, scores.StartOffset, scores.EndOffset) == (2, 1000, 900)
    for path, unit, message in (
        (spoken, "word", "its output is speech"),
        (written, "write", "its output is text"),
    ):
        with pytest.raises(ScoringError, match=message):
            read_complete_log(path, 1, unit)
