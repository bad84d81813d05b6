"""`echostream doctor` under the installed SimulEval, under altered ones and where there is none."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import simuleval.evaluator.evaluator as evaluator
from simuleval.evaluator.instance import SpeechOutputInstance, TextOutputInstance
from simuleval.evaluator.remote import RemoteEvaluator
from simuleval.evaluator.scorers import get_scorer_class
from tiny_model import make_model_folder
from tiny_speech import make_speaking_folder

from echostream.doctor import recognizers
from echostream.doctor import report as doctor
from echostream.doctor.columns import (
    TIMED,
    character_faults,
    log_faults,
    speech_columns,
    text_columns,
)
from echostream.doctor.model import describe_model
from echostream.doctor.probe import SpeechProbe, TextProbe, evaluate, remote_error
from echostream.doctor.recognizers import recognizer_lines
from echostream.doctor.speech_scoring import patched_speech_scoring
from echostream.extras import how_to_install

ROOT = Path(__file__).resolve().parents[2]
Capture = pytest.CaptureFixture[str]


def faults(*, text: bool, flag: bool) -> dict[str, str]:
    """Columns that are wrong in a run with or without --computation-aware, with the reason."""
    columns = text_columns() if text else speech_columns()
    return {
        column.name: column.fault
        for column in columns
        if column.computation_aware is flag and column.fault is not None
    }


def test_a_probe_is_a_real_run_with_its_times_in_the_log() -> None:
    text, speech = evaluate(TextProbe, ["AL"], False), evaluate(SpeechProbe, ["AL"], False)
    assert text.error is speech.error is None
    assert text.logged.prediction == "the small black cat sleeps"
    assert text.logged.delays == (500.0, 500.0, 750.0, 1000.0, 1000.0)
    # Four policy calls of 10 ms, two of them before the first word.
    assert text.logged.elapsed[0] >= 520 and text.logged.elapsed[-1] >= 1040
    assert (speech.logged.delays, speech.logged.durations) == ((500.0, 1000.0), (400.0, 300.0))
    # Shares of 250 ms: 500, 250, 250, 250, and at the end of the source 1000 - 750.
    assert text.scores["AL"] == pytest.approx((500 + 250 + 250 + 250) / 4)


def test_a_probe_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "with a space"))
    (tmp_path / "with a space").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    before = list(sys.argv)
    evaluate(TextProbe, ["AL"], True)
    assert sys.argv == before and not list((tmp_path / "with a space").iterdir())


def test_the_computation_aware_fault_of_the_installed_build_is_named() -> None:
    """SimulEval issue 44: with the flag, 1.1.4 puts the values with compute into plain columns."""
    assert faults(text=True, flag=False) == {"NumChunks": "it counts words, not writes"}
    wrong = faults(text=True, flag=True)
    assert set(wrong) == {*TIMED, "NumChunks"}
    assert all("each has the value with compute" in wrong[name] for name in TIMED)


def test_the_faults_of_speech_of_the_installed_build_are_named() -> None:
    plain, flagged = faults(text=False, flag=False), faults(text=False, flag=True)
    assert plain["ATD"] == "speech is scored as if it were text"
    assert plain["RTF"] == "the duration of the last write is not counted"
    stops = {name for name, fault in plain.items() if "scoring stops with AssertionError" in fault}
    assert stops == {"DiscontinuitySum", "DiscontinuityAve", "DiscontinuityNum"}
    assert set(plain) == {"ATD", "RTF", *stops}
    assert all("scoring stops with" in flagged[name] for name in ("AL", "AL_CA", "StartOffset_CA"))
    assert log_faults() == ["speech has no times with compute (`elapsed` is empty)"]


def test_the_agent_for_speech_mends_the_installed_build_and_only_its_own_run() -> None:
    stops = {name for name, fault in faults(text=False, flag=False).items() if "stops" in fault}
    assert stops == {"DiscontinuitySum", "DiscontinuityAve", "DiscontinuityNum"}
    with patched_speech_scoring():
        assert faults(text=False, flag=False) == {}
        left_out = {"EndOffset_CA": "compute is not counted", "RTF_CA": "compute is not counted"}
        assert faults(text=False, flag=True) == left_out
    assert {name for name, fault in faults(text=False, flag=False).items() if "stops" in fault} == (
        stops
    )


@pytest.mark.skipif(importlib.util.find_spec("fairseq") is not None, reason="it is installed")
@pytest.mark.parametrize("has_judge", [True, False])
def test_a_recogniser_that_is_missing_gives_zero_and_no_error(
    has_judge: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    judge = importlib.machinery.ModuleSpec("ctranslate2", None) if has_judge else None
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: judge if name == "ctranslate2" else find(name)
    )
    asr, whisper, instead = recognizer_lines()
    assert asr.startswith("ASR_BLEU cannot be had: it needs fairseq, which is not installed")
    assert "SimulEval writes 0.0 for any speech, with a line in its log as the only sign" in asr
    assert whisper.startswith("WHISPER_ASR_BLEU can") and "echostream score" in instead
    assert "command:CMD" in instead and "whisper:FOLDER" in instead
    assert (how_to_install("judge") in instead) is not has_judge


def test_a_recogniser_that_is_installed_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would download a model."""
    monkeypatch.setattr(recognizers, "evaluate", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: name)
    assert [line.split(": ")[0] for line in recognizer_lines()[:2]] == [
        "ASR_BLEU can be asked for",
        "WHISPER_ASR_BLEU can be asked for",
    ]


def test_a_build_that_stops_without_a_recogniser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: object, instances: object) -> None:
        raise RuntimeError("no fairseq")

    monkeypatch.setattr(get_scorer_class("quality", "ASR_BLEU"), "asr_transcribe", stop)
    assert recognizer_lines()[0].endswith("Scoring stops with RuntimeError: no fairseq.")


def test_the_client_of_the_installed_build_is_named() -> None:
    error = remote_error()
    assert error is not None and error.startswith("AttributeError")
    assert "instance_iterator" in error


def test_the_faults_of_counting_by_character_in_the_installed_build_are_named() -> None:
    """`--eval-latency-unit char` under 1.1.4: spaces are lost, and 13a makes a sentence a word."""
    spaces, lengths, unspaced, *missing = character_faults()
    assert "not from the reference: BLEU 0.0 where 66.9 is right" in spaces
    assert lengths.startswith("spaces of the reference count as characters") and "AL, AP" in lengths
    assert "BLEU 0.0 for an output that is the reference" in unspaced
    assert "`--sacrebleu-tokenizer char`" in spaces and "`--sacrebleu-tokenizer char`" in unspaced
    assert all("library of a tokenizer is not installed" in fault for fault in missing)


# SimulEval altered as its other builds are: the results of the probes must follow its behaviour.


def repaired_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the head of SimulEval: plain scorers ignore the flag."""
    scorer = get_scorer_class("latency", "AL").__mro__[1]
    assert scorer.__name__ == "LatencyScorer"
    monkeypatch.setattr(
        scorer,
        "from_args",
        classmethod(lambda cls, args: cls(False, not args.no_use_ref_len)),
    )


def live_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in StreamSpeech's copy: what is scored is what has run, not its log."""
    own = evaluator.SentenceLevelEvaluator.build_instances_from_log
    monkeypatch.setattr(
        evaluator.SentenceLevelEvaluator,
        "build_instances_from_log",
        lambda self: own(self) if self.score_only else None,
    )


def test_a_build_without_the_fault_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    repaired_columns(monkeypatch)
    assert set(faults(text=True, flag=True)) == {"NumChunks"}


def test_a_build_that_scores_live_speech_is_trusted_but_for_what_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repaired_columns(monkeypatch)
    live_instances(monkeypatch)
    assert faults(text=False, flag=False) == {}
    left_out = {"EndOffset_CA": "compute is not counted", "RTF_CA": "compute is not counted"}
    assert faults(text=False, flag=True) == left_out


def test_a_build_that_joins_pieces_gets_marked_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in StreamSpeech's copy."""
    monkeypatch.setattr(
        TextOutputInstance,
        "prediction",
        property(lambda self: "".join(self.prediction_list).replace("▁", " ")),
    )
    assert evaluate(TextProbe, ["AL"], False).logged.prediction.split() == [
        *("the", "small", "black", "cat", "sleeps")
    ]
    assert "BLEU" not in faults(text=True, flag=False)


def test_a_client_that_comes_as_far_as_connecting_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = RemoteEvaluator.__init__

    def with_the_other_name(self: RemoteEvaluator, built: object) -> None:
        own(self, built)
        built.instance_iterator = built.iterator  # type: ignore[attr-defined]

    monkeypatch.setattr(RemoteEvaluator, "__init__", with_the_other_name)
    assert remote_error() is None


def wrong_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_scorer_class("latency", "AP"), "compute", lambda self, instance: 7.0)


def no_bleu(monkeypatch: pytest.MonkeyPatch) -> None:
    quality = get_scorer_class("quality", "BLEU")
    monkeypatch.setattr(quality, "__call__", lambda self, instances: 0.0)


def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: object, *args: object) -> None:
        raise SystemExit("out of order")

    monkeypatch.setattr(TextOutputInstance, "receive_prediction", stop)
    monkeypatch.setattr(SpeechOutputInstance, "receive_prediction", stop)


def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pass


@pytest.mark.parametrize(
    ("alter", "status", "line"),
    [
        (nothing, 0, "text runs: all but the columns named can be trusted; `echostream score"),
        (wrong_metric, 0, "without --computation-aware, WRONG: AP: it is 7.000 where the log"),
        (no_bleu, 1, "text runs: this SimulEval cannot be used; not available: BLEU"),
        (no_run, 1, "MISSING: BLEU, AL, LAAL, AP, DAL, ATD, StartOffset, EndOffset, RTF, NumChu"),
    ],
    ids=["as installed", "a wrong metric", "no quality", "no run"],
)
def test_the_status_shows_whether_every_figure_of_text_is_available(
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    alter: Callable[[pytest.MonkeyPatch], None],
    status: int,
    line: str,
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    alter(monkeypatch)
    assert doctor.main() == status
    assert line in capsys.readouterr().out


def test_a_simuleval_of_another_python_on_the_path_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "simuleval"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{Path(sys.executable).parent}")
    sentence, is_own = doctor.simuleval_on_path()
    assert not is_own and str(command) in sentence and "another Python" in sentence
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert doctor.simuleval_on_path()[1]
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    sentence, is_own = doctor.simuleval_on_path()
    assert is_own and "no `simuleval` on the PATH" in sentence


@pytest.mark.parametrize(
    ("decoder_layers", "speaks", "line"),
    [
        (1, True, "L = 0, 1 and the decoding methods ctc, decoder"),
        (0, False, "L = 0, 1 and the decoding methods ctc."),
    ],
)
def test_a_model_is_described_by_what_it_can_do(
    tmp_path: Path, decoder_layers: int, speaks: bool, line: str
) -> None:
    make = make_speaking_folder if speaks else make_model_folder
    is_usable, (text, speech) = describe_model(make(tmp_path, decoder_layers=decoder_layers))
    assert is_usable and line in text.replace("0, 1, 2", "0, 1")
    if speaks:
        assert speech.startswith("it speaks: 13 units of logmel80, a refiner, `--refine-steps` 0")
    else:
        assert speech.startswith("it does not speak: its folder has no folders unit_decoder and v")


def test_a_model_that_cannot_be_loaded_is_named_with_the_reason(tmp_path: Path) -> None:
    is_usable, (line,) = describe_model(tmp_path / "none")
    assert not is_usable and f"{tmp_path / 'none'} does not exist" in line
    folder = make_speaking_folder(tmp_path / "model")
    (folder / "vocoder" / "model.safetensors").unlink()
    is_usable, (line,) = describe_model(folder)
    assert not is_usable and "must be the folder of a vocoder" in line


def run_doctor(cwd: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user calls it."""
    script = "import sys; from echostream.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", script, "doctor", *words],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )


def test_the_command_reports_what_its_own_python_imports(tmp_path: Path) -> None:
    """A folder `simuleval` in the working directory is not what the command `simuleval` runs."""
    (tmp_path / "simuleval").mkdir()
    (tmp_path / "simuleval" / "__init__.py").write_text("raise ImportError('a trap')\n")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = run_doctor(tmp_path, "no/model", PYTHONPATH=str(ROOT), PATH=path)
    assert done.returncode == 1, done.stderr
    assert "## Model no/model\n\n- it cannot be loaded: " in done.stdout
    assert "- with agents/s2st.py, without --computation-aware, right: AL, LAAL" in done.stdout
    assert "## Columns of text runs" in done.stdout and "each has the value" in done.stdout
    assert (
        f"SimulEval {version('simuleval')} in {Path(evaluator.__file__).parent.parent}"
        in done.stdout
    )
    assert done.stderr == ""


def test_a_simuleval_that_cannot_be_imported_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "simuleval").mkdir()
    (tmp_path / "simuleval" / "__init__.py").write_text("raise ImportError('no audioop here')\n")
    done = run_doctor(ROOT, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1 and done.stdout == ""
    assert "no audioop here" in done.stderr
    assert (
        f"echostream doctor: SimulEval, or EchoStream's agents, cannot be run by {sys.executable}"
        in (done.stderr)
    )
