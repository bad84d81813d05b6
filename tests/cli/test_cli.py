"""The command line: what it prints, what it refuses and by which name, and how it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml
from espeak_needed import needs_espeak
from numpy.typing import NDArray
from tiny_model import SAMPLE_RATE, babble
from tiny_training import tiny_run

from echostream.cli import main
from echostream.cli.programs import PROGRAMS
from echostream.config import to_dict
from echostream.data.table import read_tsv
from echostream.frontend.audio import read_audio
from echostream.session.translator import StreamingTranslator
from echostream.training.log import RunLog

LINE = re.compile(r" *(\d+\.\d\d) s  (\S.*)")
Capture = pytest.CaptureFixture[str]
COMMANDS = ("translate", "score", "doctor", "train", "corpus", "units")


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_evaluation_is_a_command_with_its_name_in_the_help(name: str, capsys: Capture) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().out.startswith(f"usage: echostream {name} ")


def expected_lines(
    model: Path,
    audio: Path,
    segment_ms: int = 320,
    look_ahead: int = 0,
    task: str = "st",
    decoding_method: str = "ctc",
) -> list[tuple[float, str]]:
    """The seconds and words of a session on a file, without the command line."""
    session = StreamingTranslator.load(
        model, max_future_frames=look_ahead, task=task, decoding_method=decoding_method
    )
    samples, rate = read_audio(audio)
    size = segment_ms * rate // 1000
    outputs = []
    for start in range(0, len(samples), size):
        outputs += session.push(samples[start : start + size], rate)
    return [(o.delay_ms / 1000, o.text) for o in [*outputs, *session.finish()]]


def shown(text: str) -> dict[str, list[tuple[float, str]]]:
    """What the command printed: for each path its lines."""
    found: dict[str, list[tuple[float, str]]] = {}
    for line in text.splitlines():
        if match := LINE.fullmatch(line):
            list(found.values())[-1].append((float(match[1]), match[2]))
        else:
            found[line] = []
    return found


def assert_shown(out: str, expected: dict[Path, list[tuple[float, str]]]) -> None:
    found = shown(out)
    assert list(found) == [str(path) for path in expected]
    for path, lines in expected.items():
        assert [words for _, words in found[str(path)]] == [words for _, words in lines]
        seconds = [time for time, _ in found[str(path)]]
        assert seconds == pytest.approx([time for time, _ in lines], abs=0.006)


def test_each_line_has_the_words_and_the_audio_heard_when_they_came(
    model: Path, good: Path, capsys: Capture
) -> None:
    assert main(["translate", str(model), str(good)]) == 0
    expected = expected_lines(model, good)
    assert len(expected) > 3
    assert_shown(capsys.readouterr().out, {good: expected})


def test_the_flags_reach_the_session(model: Path, good: Path, capsys: Capture) -> None:
    flags = ["--task", "asr", "--max-future-frames", "2", "--segment-ms", "1000"]
    assert main(["translate", str(model), str(good), *flags]) == 0
    expected = expected_lines(model, good, segment_ms=1000, look_ahead=2, task="asr")
    assert expected != expected_lines(model, good)
    assert_shown(capsys.readouterr().out, {good: expected})


def test_the_decoder_writes_with_the_flag(model: Path, good: Path, capsys: Capture) -> None:
    assert main(["translate", str(model), str(good), "--decoding-method", "decoder"]) == 0
    expected = expected_lines(model, good, decoding_method="decoder")
    assert expected != expected_lines(model, good)
    assert_shown(capsys.readouterr().out, {good: expected})


def test_recordings_do_not_disturb_each_other(
    model: Path, good: Path, tmp_path: Path, capsys: Capture
) -> None:
    other = tmp_path / "other.wav"
    sf.write(other, babble(2, seed=2, sample_rate=8000), 8000)
    assert main(["translate", str(model), str(other), str(good)]) == 0
    expected = {other: expected_lines(model, other), good: expected_lines(model, good)}
    assert_shown(capsys.readouterr().out, expected)


def missing(path: Path) -> None:
    assert not path.exists()


def empty(path: Path) -> None:
    path.touch()


def without_samples(path: Path) -> None:
    sf.write(path, np.zeros(0), SAMPLE_RATE)


def text(path: Path) -> None:
    path.write_text("this is not audio")


def directory(path: Path) -> None:
    path.mkdir()


def of_a_rate_that_makes_no_sense(path: Path) -> None:
    sf.write(path, np.zeros(100), 100)


@pytest.mark.parametrize(
    "make", [missing, empty, without_samples, text, directory, of_a_rate_that_makes_no_sense]
)
def test_a_bad_file_is_named_and_the_others_are_translated(
    model: Path, good: Path, tmp_path: Path, make: Callable[[Path], None], capsys: Capture
) -> None:
    bad, second = tmp_path / "bad.wav", tmp_path / "second.flac"
    make(bad)
    shutil.copy(good, second)
    assert main(["translate", str(model), str(good), str(bad), str(second)]) == 1
    captured = capsys.readouterr()
    lines = expected_lines(model, good)
    found = shown(captured.out)
    assert found.pop(str(bad), []) == []
    assert_shown(captured.out.replace(f"{bad}\n", ""), {good: lines, second: lines})
    (complaint,) = captured.err.splitlines()
    assert complaint.startswith(f"echostream translate: {bad}")
    assert "Traceback" not in captured.err


def truncated(path: Path) -> None:
    sf.write(path, babble(3, seed=1), SAMPLE_RATE)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def write(samples: NDArray[np.float32], rate: int, subtype: str) -> Callable[[Path], None]:
    return lambda path: sf.write(path, samples, rate, subtype)


def at_48_khz_in_stereo(path: Path) -> None:
    mono = babble(3, seed=1, sample_rate=48_000)
    sf.write(path, np.stack([mono, mono[::-1]], axis=1), 48_000)


def with_holes(path: Path) -> None:
    samples = babble(3, seed=1)
    samples[5000:5100], samples[9000] = np.nan, np.inf
    sf.write(path, samples, SAMPLE_RATE, "FLOAT")


@pytest.mark.parametrize(
    ("make", "says_something"),
    [
        pytest.param(truncated, True, id="cut off in the middle"),
        pytest.param(write(babble(3, 1, 8000), 8000, "PCM_16"), True, id="8 kHz"),
        pytest.param(at_48_khz_in_stereo, True, id="48 kHz stereo"),
        pytest.param(write(babble(3, 1), SAMPLE_RATE, "PCM_24"), True, id="24 bit"),
        pytest.param(with_holes, True, id="NaN and infinity"),
        pytest.param(
            write(np.zeros(48_000, np.float32), SAMPLE_RATE, "PCM_16"), False, id="silence"
        ),
        pytest.param(write(babble(3, 1)[:150], SAMPLE_RATE, "PCM_16"), False, id="150 samples"),
        pytest.param(write(babble(3, 1)[:1], SAMPLE_RATE, "PCM_16"), False, id="one sample"),
    ],
)
def test_unusual_audio_is_translated_as_a_session_does(
    model: Path,
    tmp_path: Path,
    make: Callable[[Path], None],
    says_something: bool,
    capsys: Capture,
) -> None:
    path = tmp_path / "unusual.wav"
    make(path)
    assert main(["translate", str(model), str(path)]) == 0
    expected = expected_lines(model, path)
    assert_shown(capsys.readouterr().out, {path: expected})
    assert not says_something or expected


def refused(arguments: list[str], capsys: Capture) -> str:
    """The message with which a command is refused before it does anything."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    assert captured.err.startswith(f"echostream {arguments[0]}: ")
    return captured.err


def test_a_model_that_is_none_is_named(
    model: Path, good: Path, tmp_path: Path, capsys: Capture
) -> None:
    none = tmp_path / "none"
    assert f"{none} does not exist" in refused(["translate", str(none), str(good)], capsys)
    lacking = Path(shutil.copytree(model, tmp_path / "lacking"))
    (lacking / "model.safetensors").unlink()
    message = refused(["translate", str(lacking), str(good)], capsys)
    assert f"{lacking} lacks model.safetensors" in message
    foreign = Path(shutil.copytree(model, tmp_path / "foreign"))
    (foreign / "config.yaml").write_text("colour: red\n")
    message = refused(["translate", str(foreign), str(good)], capsys)
    assert f"{foreign / 'config.yaml'}: `colour` is not a key" in message


def test_a_look_ahead_or_a_segment_that_cannot_be_is_refused(
    model: Path, good: Path, capsys: Capture
) -> None:
    message = refused(["translate", str(model), str(good), "--max-future-frames", "3"], capsys)
    assert "`max_future_frames` must be one of 0, 1, 2" in message and "3 instead" in message
    message = refused(["translate", str(model), str(good), "--segment-ms", "0"], capsys)
    assert "`--segment-ms` must be at least 1, but is 0 instead" in message


@pytest.mark.parametrize("arguments", [[], ["translate"], ["translate", "m"], ["sing"]])
def test_a_command_that_makes_no_sense_ends_with_2_and_the_usage(
    arguments: list[str], capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: echostream" in capsys.readouterr().err


def test_help_does_not_wait_for_torch() -> None:
    script = (
        "import sys\n"
        "from echostream.cli import main\n"
        f"for arguments in ([], *([name] for name in {COMMANDS})):\n"
        "    try:\n"
        "        main([*arguments, '--help'])\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0\n"
        "slow = {'torch', 'numpy', 'sentencepiece', 'simuleval'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


def write_config(path: Path, changes: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(to_dict(tiny_run(path.parent)) | changes))
    return path


def test_a_training_prints_its_model_folder_and_writes_where_it_is_told(
    tmp_path: Path, capsys: Capture
) -> None:
    config = write_config(tmp_path / "train.yaml", {"steps": 1})
    output = tmp_path / "elsewhere"
    assert main(["train", str(config), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output / 'model'}\n"
    assert (output / "model" / "model.safetensors").is_file()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_training_names_the_way_to_resume_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, number: signal.Signals
) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("these tests run under nohup, as a training may")
    config = write_config(tmp_path / "train.yaml", {"data": to_dict(tiny_run(tmp_path, 1).data)})
    advance, done = RunLog.advance, []

    def advance_and_stop(self: RunLog, loss: float, audio_rate: float) -> None:
        advance(self, loss, audio_rate)
        done.append(loss)
        if len(done) == 4:
            os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(RunLog, "advance", advance_and_stop)
    assert main(["train", str(config)]) == 130
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    last = captured.err.splitlines()[-1]
    assert last.startswith("echostream train: stopped.")
    assert str(tmp_path / "run") in last and "the same command resumes" in last
    assert signal.getsignal(signal.SIGTERM) is before
    assert main(["train", str(config)]) == 0
    assert len(done) == 4 + 4  # the checkpoint of step 3, and four more steps
    assert capsys.readouterr().out == f"{tmp_path / 'run' / 'model'}\n"


def test_an_unknown_key_is_named_with_its_file(tmp_path: Path, capsys: Capture) -> None:
    config = write_config(tmp_path / "train.yaml", {"learning_rate": 1})
    message = refused(["train", str(config)], capsys)
    assert f"{config}: `learning_rate` is not a key" in message
    config = write_config(tmp_path / "train.yaml", {"data": {"speakers": 3}})
    message = refused(["train", str(config)], capsys)
    assert str(config) in message and "`speakers` is not a key" in message


def test_a_configuration_or_a_table_that_is_not_there_is_named(
    tmp_path: Path, capsys: Capture
) -> None:
    assert str(tmp_path / "none.yaml") in refused(["train", str(tmp_path / "none.yaml")], capsys)
    config = write_config(tmp_path / "train.yaml", {})
    (tmp_path / "dev.tsv").unlink()
    assert str(tmp_path / "dev.tsv") in refused(["train", str(config)], capsys)


def test_a_gradient_that_is_not_finite_ends_a_training_with_1(
    tmp_path: Path, capsys: Capture
) -> None:
    optim = {"lr": 1e30, "warmup_steps": 1, "clip_norm": 1e30}
    values = {"optim": optim, "max_skipped_batches": 0}
    config = write_config(tmp_path / "train.yaml", values)
    assert main(["train", str(config)]) == 1
    captured = capsys.readouterr()
    assert "echostream train: the loss of step" in captured.err
    assert "Traceback" not in captured.err


@needs_espeak
def test_a_small_corpus_is_written_and_reported(tmp_path: Path, capsys: Capture) -> None:
    output = tmp_path / "corpus"
    arguments = ["corpus", str(output), "--seed", "4", "--counts", "train=2", "dev=1"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("# Corpus report")
    assert {len(read_tsv(output / f"{split}.tsv")) for split in ("train", "dev")} == {1, 2}
    assert all(len(item.samples) > SAMPLE_RATE // 2 for item in read_tsv(output / "train.tsv"))
    assert "another `seed`" in refused([*arguments, "--seed", "5"], capsys)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("train", "'train' instead"),
        ("train=", "'train=' instead"),
        ("train=many", "'train=many' instead"),
        ("train=-1", "'train=-1' instead"),
        ("train=0", "must be a positive number, but is 0"),
        ("holdout=3", "'holdout'"),
        ("train=" + "9" * 5000, "utterances are too many"),
        ("train=900000000000", "B are free on the disk"),
    ],
)
def test_a_count_that_makes_no_sense_is_named(
    tmp_path: Path, item: str, message: str, capsys: Capture
) -> None:
    assert message in refused(["corpus", str(tmp_path / "corpus"), "--counts", item], capsys)
    assert not (tmp_path / "corpus").exists()


def test_a_split_that_is_counted_twice_is_refused(tmp_path: Path, capsys: Capture) -> None:
    arguments = ["corpus", str(tmp_path / "corpus"), "--counts", "dev=1", "dev=2"]
    assert "names 'dev' twice" in refused(arguments, capsys)


def test_a_corpus_where_a_file_is_names_it(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "corpus").write_text("mine")
    assert str(tmp_path / "corpus") in refused(["corpus", str(tmp_path / "corpus")], capsys)


def test_a_grammar_that_is_not_there_is_named(tmp_path: Path, capsys: Capture) -> None:
    grammar = tmp_path / "none.yaml"
    arguments = ["corpus", str(tmp_path / "corpus"), "--grammar", str(grammar)]
    assert str(grammar) in refused(arguments, capsys)
