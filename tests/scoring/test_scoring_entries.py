"""Logs that are cut, torn or doubled: what can be read is scored, and the rest is reported."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest
from run_logs import speech_line, text_line, write_run

from echostream.scoring.log import ScoringError, read_log
from echostream.scoring.score import Options, score_run
from echostream.scoring.warnings import warnings_of

GOOD = [text_line(i, "the cat", [1000.0 + i, 2000.0]) for i in range(4)]


@pytest.mark.parametrize("kept", [1, 2, 40, 200])
def test_a_last_line_that_is_cut_is_left_out_and_reported_with_its_number(
    tmp_path: Path, kept: int
) -> None:
    path = write_run(tmp_path, GOOD)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines[3]) > 201
    path.write_bytes(b"".join(lines[:3]) + lines[3][:kept])
    log = read_log(path)
    assert [entry.index for entry in log.utterances] == [0, 1, 2]
    (sentence,) = log.skipped
    assert sentence.startswith("line 4 is cut off in the middle and was left out (it is not JSON")
    whole = score_run(write_run(tmp_path / "whole", GOOD[:3]), Options())
    cut = score_run(path, Options())
    assert cut.simuleval_units == whole.simuleval_units and cut.quality == whole.quality


def test_a_last_line_without_a_line_end_is_whole_when_it_can_be_read(tmp_path: Path) -> None:
    path = write_run(tmp_path, GOOD)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    log = read_log(path)
    assert len(log.utterances) == 4 and not log.skipped


def test_a_line_cut_within_a_character_does_not_take_the_others_along(tmp_path: Path) -> None:
    path = write_run(tmp_path, GOOD[:2])
    torn = json.dumps(text_line(2, "naïve", [1.0]), ensure_ascii=False).encode()
    path.write_bytes(path.read_bytes() + torn[: torn.index("ï".encode()) + 1])
    log = read_log(path)
    assert len(log.utterances) == 2
    assert "line 3 is cut off in the middle" in log.skipped[0]


def test_a_line_torn_by_a_run_that_went_on_is_one_line_and_one_gap(tmp_path: Path) -> None:
    """1.1.4 writes through a buffer: a crash and --continue-unfinished leave half a line behind."""
    path = write_run(tmp_path, GOOD)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1][:80] + lines[2] + lines[3])
    log = read_log(path)
    assert [entry.index for entry in log.utterances] == [0, 3]
    assert len(log.skipped) == 2
    assert log.skipped[0].startswith("line 2 cannot be read and was left out (it is not JSON")
    assert log.skipped[1] == "utterances 1 to 2 are missing."


def test_of_two_lines_with_one_index_the_later_holds_as_in_simuleval(tmp_path: Path) -> None:
    again = text_line(1, "a dog", [3000.0, 4000.0])
    log = read_log(write_run(tmp_path, [*GOOD, again]))
    assert [entry.prediction for entry in log.utterances] == [
        "the cat",
        "a dog",
        "the cat",
        "the cat",
    ]
    assert log.notes == ("utterance 1 is there twice; line 5 holds, line 2 does not count.",)
    assert not log.skipped  # nothing is missing


def test_gaps_are_named_and_a_shard_that_begins_later_has_none(tmp_path: Path) -> None:
    lines = [text_line(index, "the cat", [1.0, 2.0]) for index in (100, 101, 103, 107)]
    assert read_log(write_run(tmp_path, lines)).skipped == (
        "utterance 102 is missing.",
        "utterances 104 to 106 are missing.",
    )


def test_a_byte_order_mark_takes_no_line_along(tmp_path: Path) -> None:
    """An editor puts it there, and the first utterance was left out."""
    path = write_run(tmp_path, GOOD)
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    log = read_log(path)
    assert (len(log.utterances), log.skipped) == (len(GOOD), ())


def test_lines_in_any_order_with_any_line_end_are_read(tmp_path: Path) -> None:
    path = write_run(tmp_path, [GOOD[2], GOOD[0], GOOD[1]])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\n\n")
    log = read_log(path)
    assert [entry.index for entry in log.utterances] == [0, 1, 2]
    assert not log.skipped and not log.notes


WRONG = {
    "a number": (5, "it is not a JSON object"),
    "no delays": ({"index": 1}, "it has no 'prediction'"),
    "more words than delays": (
        text_line(1, "the small cat", [1.0, 2.0]),
        "its 3 words have only 2 delays",
    ),
    "other times with compute": (
        text_line(1, "the cat", [1.0, 2.0], elapsed=[1.0]),
        "it has 2 delays, but 1 elapsed",
    ),
    "time that goes back": (text_line(1, "the cat", [2.0, 1.0]), "its delays go back"),
    "no source": (
        text_line(1, "the cat", [1.0, 2.0], source_length=0),
        "`source_length` must be positive, in ms and up to 1e+09, but is 0",
    ),
    "a time that is none": (
        text_line(1, "the cat", [1.0, float("nan")]),
        "`delays` must be a list of numbers of ms from 0 to 1e+09, but entry 2 is NaN",
    ),
    "text in": (
        text_line(1, "the cat", [1, 2], source="le chat", source_length=2),
        "its source is text",
    ),
}


@pytest.mark.parametrize(("line", "reason"), WRONG.values(), ids=WRONG)
def test_a_line_that_makes_no_sense_is_left_out_with_the_reason(
    tmp_path: Path, line: Any, reason: str
) -> None:
    log = read_log(write_run(tmp_path, [GOOD[0], line]))
    (sentence,) = log.skipped
    assert sentence.startswith("line 2 cannot be read") and reason in sentence
    with pytest.raises(ScoringError, match="holds no utterance that can be scored: line 1"):
        read_log(write_run(tmp_path / "alone", [line]))


def test_a_log_that_is_not_there_or_empty_or_mixed_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "instances.log"
    with pytest.raises(ScoringError, match=r"instances.log: cannot be read: No such file"):
        read_log(path)
    path.write_text("")
    with pytest.raises(ScoringError, match=r"instances.log: .* the file is empty"):
        read_log(path)
    write_run(tmp_path, [GOOD[0], speech_line(1, [1000], [300])])
    with pytest.raises(ScoringError, match="mixes both"):
        read_log(path)


def test_empty_predictions_count_in_the_quality_and_are_said(tmp_path: Path) -> None:
    silent = text_line(1, "", [])
    scores = score_run(write_run(tmp_path, [GOOD[0], silent, GOOD[2]]), Options())
    assert (scores.num_empty, scores.simuleval_units.num_utterances) == (1, 2)
    assert "1 of 3 predictions are empty" in "\n".join(warnings_of(scores))
    only_silent = score_run(write_run(tmp_path / "silent", [text_line(0, "", [])]), Options())
    assert set(only_silent.simuleval_units.values.values()) == {None}
    assert "nothing was written for any utterance" in "\n".join(warnings_of(only_silent))


def test_empty_references_are_warned_of(tmp_path: Path) -> None:
    """A blank line in a list of references changed BLEU and AL without a warning."""
    lines = [GOOD[0], {**GOOD[1], "reference": " "}, GOOD[2]]
    printed = "\n".join(warnings_of(score_run(write_run(tmp_path, lines), Options())))
    assert "1 of 3 references are empty, in line 2 of the list of references: " in printed
    whole = score_run(write_run(tmp_path / "whole", GOOD), Options())
    assert "references are empty" not in "\n".join(warnings_of(whole))


def test_without_references_there_is_latency_by_the_output_and_no_quality(tmp_path: Path) -> None:
    line = text_line(0, "the cat", [1000.0, 3000.0], reference=None)
    scores = score_run(write_run(tmp_path, [line]), Options())
    assert scores.quality is None
    # SimulEval's rule: the output is its own reference. 1000 - 0 and 3000 - 2000.
    assert scores.simuleval_units.values["AL"] == pytest.approx(1000)
    assert "1 of 1 lines have no reference" in "\n".join(warnings_of(scores))


def test_one_line_without_compute_takes_the_values_with_compute_from_all(tmp_path: Path) -> None:
    bare = text_line(1, "the cat", [1000.0, 2000.0], elapsed=[])
    scores = score_run(write_run(tmp_path, [GOOD[0], bare]), Options())
    assert scores.simuleval_units.values["AL"] is not None and scores.compute_rtf is None
    assert scores.simuleval_units.values["AL_CA"] is None
    assert "1 of 2 lines have no times with compute" in "\n".join(warnings_of(scores))
