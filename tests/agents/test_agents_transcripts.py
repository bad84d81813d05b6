"""The files of `--extra-output-dir`: one line for each utterance, in a run that went on, too."""

from __future__ import annotations

import json
import logging
import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import soundfile
from agent_calls import S2TT, run_here
from run_logs import text_line, write_run
from tiny_model import SAMPLE_RATE, babble, make_model_folder

from echostream.agents.transcripts import Transcripts, finished_utterances


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_run_that_went_on_has_one_line_for_each_utterance_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """A run is killed when it has written transcripts that are not in its buffered log yet."""
    folder = make_model_folder(tmp_path / "model")
    names = [tmp_path / f"{index}.wav" for index in range(3)]
    for index, name in enumerate(names):
        soundfile.write(name, babble(2.5, seed=index), SAMPLE_RATE)
    flags = (*S2TT, "--model-path", str(folder), "--extra-output-dir", "extra")
    whole = run_here(monkeypatch, tmp_path / "run", names, *flags)
    extra, log = tmp_path / "run" / "extra", tmp_path / "run" / "out" / "instances.log"
    before = {name: (extra / name).read_text() for name in ("asr.txt", "st.txt")}
    assert before["st.txt"].splitlines() == [entry["prediction"] for entry in whole]

    log.write_text("".join(log.read_text().splitlines(keepends=True)[:kept]))
    if kept < 3:
        with open(extra / "asr.txt", "a") as file:
            file.write("half a li")
    run_here(monkeypatch, tmp_path / "run", names, *flags, "--continue-unfinished")
    assert {name: (extra / name).read_text() for name in before} == before


def run_arguments(output: Path, continued: bool = True) -> Namespace:
    return Namespace(output=str(output), continue_unfinished=continued)


def test_the_log_tells_how_many_utterances_are_finished(tmp_path: Path) -> None:
    assert finished_utterances(Namespace()) is None  # no SimulEval
    assert finished_utterances(run_arguments(tmp_path)) is None  # nothing to go on after
    log = write_run(tmp_path, [text_line(i, "a cat", [1.0, 2.0]) for i in (5, 6, 7)])
    assert finished_utterances(run_arguments(tmp_path)) == 3  # of --start-index 5
    assert finished_utterances(run_arguments(tmp_path, continued=False)) is None
    log.write_text("")
    assert finished_utterances(run_arguments(tmp_path)) == 0
    write_run(tmp_path, [text_line(0, "a cat", [1.0, 2.0])])
    log.write_bytes(log.read_bytes() + b'{"index": 1, "pred')
    with pytest.raises(ValueError, match=r"instances.log: .* cannot continue after .* line, 2"):
        finished_utterances(run_arguments(tmp_path))
    assert log.read_bytes().endswith(b'"pred')  # nothing was changed


def test_utterances_without_a_line_get_blank_ones_and_a_run_of_its_own_warns_of_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Transcripts(tmp_path, False, "asr", finished=2).append("two", "")
    assert (tmp_path / "asr.txt").read_text() == "\n\ntwo\n"
    assert "asr.txt: has no line for 2 utterances" in caplog.text
    Transcripts(tmp_path, False, "asr").append("three", "")
    assert "asr.txt holds 3 lines of an earlier run; those of this run are appended" in caplog.text
    assert (tmp_path / "asr.txt").read_text() == "\n\ntwo\nthree\n"


def test_a_folder_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"`extra_output_dir` must be a folder .*file"):
        Transcripts(tmp_path / "file", False, "st")


def test_a_folder_that_is_deleted_during_a_run_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    transcripts = Transcripts(tmp_path / "extra", True, "st")
    transcripts.append("un", "one")
    shutil.rmtree(tmp_path / "extra")
    for _ in range(2):
        transcripts.append("deux", "two")
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1 and str(tmp_path / "extra") in errors[0].getMessage()
    assert transcripts.needed
    assert json.dumps(errors[0].getMessage()).endswith('continues without transcripts."')
