"""`echostream translate`: sources of audio, destinations of words, and options."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from piped_file import piped
from test_cli import Capture, assert_shown, expected_lines, shown
from tiny_model import SAMPLE_RATE, babble

from echostream.cli import main, translate
from echostream.frontend.audio import read_audio
from echostream.session.translator import StreamingTranslator
from echostream.session_config import (
    DECODING_METHODS,
    SessionConfig,
    add_session_flags,
    session_config,
)

# Options.


def test_every_option_of_a_session_is_a_flag_with_its_default() -> None:
    parser = ArgumentParser()
    add_session_flags(parser)
    assert session_config(parser.parse_args([])) == SessionConfig()
    for name in DECODING_METHODS:
        for flag in ("--decoding-method", "--writer"):  # the old name is understood, too
            args = parser.parse_args([flag, name])
            assert session_config(args) == SessionConfig(decoding_method=name)


def test_the_command_has_every_option_of_a_session() -> None:
    parser = ArgumentParser()
    translate.add_flags(parser)
    args = vars(parser.parse_args(["m", "a.wav"]))
    for field in fields(SessionConfig):
        if field.name != "speech":  # follows from --speech-output
            assert args[field.name] == field.default


def test_old_names_of_options_are_understood_in_python_and_yaml() -> None:
    wanted = SessionConfig(decoding_method="decoder")
    assert SessionConfig.of(None, {"writer": "decoder"}) == wanted
    assert session_config(Namespace(writer="decoder")) == wanted
    with pytest.raises(ValueError, match="`writer` must not be given together with"):
        SessionConfig.of(None, {"writer": "ctc", "decoding_method": "decoder"})


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (1, {}, "`config` must be a SessionConfig, but is 1 instead"),
        (SessionConfig(), {"stride_n": 2}, "`stride_n` must be set in `config`"),
        (None, {"beams": 2}, "beams"),
    ],
)
def test_options_that_are_none_are_refused(config: Any, options: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        SessionConfig.of(config, options)


def test_the_policy_can_be_chosen(model: Path, good: Path, capsys: Capture) -> None:
    flags = {"--lagging-k1": "2", "--lagging-k2": "1", "--stride-n": "2"}
    given = [text for pair in flags.items() for text in pair]
    assert main(["translate", str(model), str(good), *given]) == 0
    samples, rate = read_audio(good)
    session = StreamingTranslator.load(model, lagging_k1=2, lagging_k2=1, stride_n=2)
    expected = []
    for start in range(0, len(samples), 320 * rate // 1000):
        expected += session.push(samples[start : start + 320 * rate // 1000], rate)
    expected += session.finish()
    lines = [(output.delay_ms / 1000, output.text) for output in expected]
    assert lines != expected_lines(model, good)
    assert_shown(capsys.readouterr().out, {good: lines})


def test_the_source_words_are_printed_on_request(model: Path, good: Path, capsys: Capture) -> None:
    assert main(["translate", str(model), str(good), "--transcript"]) == 0
    (lines,) = shown(capsys.readouterr().out).values()
    transcript = [text[1:-1] for _, text in lines if text.startswith("[")]
    assert (
        " ".join(transcript)
        == " ".join(text for _, text in expected_lines(model, good, task="asr"))
        != ""
    )
    assert [text for _, text in lines if not text.startswith("[")] == [
        text for _, text in expected_lines(model, good)
    ]


def test_the_source_words_are_printed_once_if_they_are_the_output(
    model: Path, good: Path, capsys: Capture
) -> None:
    """With --task asr each word came twice, once in brackets."""
    for flags in [], ["--transcript"]:
        assert main(["translate", str(model), str(good), "--task", "asr", *flags]) == 0
        assert_shown(capsys.readouterr().out, {good: expected_lines(model, good, task="asr")})


# Where audio comes from.


def fed(path: Path) -> Iterator[str]:
    """The name of a pipe through which the bytes of the file come."""
    with piped(path) as reading:
        yield f"/dev/fd/{reading}"
    os.close(reading)


def named_pipe(path: Path) -> Iterator[str]:
    pipe = path.with_suffix(".fifo")
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    feeder.start()
    yield str(pipe)
    feeder.join()


@pytest.mark.parametrize("source", [fed, named_pipe])
@pytest.mark.parametrize("suffix", ["flac", "wav", "mp3"])
def test_audio_comes_through_a_pipe(
    model: Path,
    tmp_path: Path,
    source: Callable[[Path], Iterator[str]],
    suffix: str,
    capsys: Capture,
) -> None:
    """As with <(...) of a shell; the file was reported as empty."""
    path = tmp_path / f"a.{suffix}"
    sf.write(path, babble(3, seed=1), SAMPLE_RATE)
    for name in source(path):
        assert main(["translate", str(model), name]) == 0
        assert_shown(capsys.readouterr().out, {Path(name): expected_lines(model, path)})


def test_audio_comes_through_the_standard_input(
    model: Path, good: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    with good.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert main(["translate", str(model), "-"]) == 0
    assert_shown(capsys.readouterr().out, {Path("standard input"): expected_lines(model, good)})


def test_a_standard_input_without_audio_is_named(
    model: Path, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert main(["translate", str(model), "-", str(good)]) == 1
    captured = capsys.readouterr()
    assert captured.err == (
        "echostream translate: standard input cannot be read as audio: the file is empty.\n"
    )
    assert_shown(captured.out, {good: expected_lines(model, good)})


@pytest.mark.parametrize("command", ["cat /dev/zero", "yes", "yes '<html>'"])
def test_a_standard_input_without_end_that_is_no_audio_ends_the_command_at_once(
    model: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """It was copied to the disk for as long as there was room, without a word."""
    with subprocess.Popen(command, shell=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(process.stdout))
        assert main(["translate", str(model), "-"]) == 1
        process.kill()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("echostream translate: standard input cannot be read as audio: ")
    assert "must begin with the header of a recording" in line and "WAV, FLAC" in line


def test_a_standard_input_that_is_closed_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """For a service without standard input the message named a terminal."""
    monkeypatch.setattr(sys, "stdin", None)  # as Python sets it
    assert main(["translate", str(model), "-"]) == 1
    assert capsys.readouterr().err == (
        "echostream translate: standard input cannot be read as audio: it is closed.\n"
    )


def test_a_path_that_is_not_utf_8_is_translated(model: Path, good: Path, capsys: Capture) -> None:
    path = os.fsdecode(os.fsencode(good.parent) + b"/\xe9t\xe9.flac")
    good.rename(path)
    assert main(["translate", str(model), path]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_a_header_that_claims_days_does_not_end_the_command(
    model: Path, good: Path, tmp_path: Path, capsys: Capture
) -> None:
    """soundfile allocated them: a traceback with a MemoryError, and nothing of the others."""
    data = bytearray(good.read_bytes())
    data[21:26] = bytes([data[21] | 0xF]) + b"\xff" * 4
    overlong = tmp_path / "overlong.flac"
    overlong.write_bytes(data)
    assert main(["translate", str(model), str(overlong), str(good)]) == 0
    lines = expected_lines(model, good)
    assert_shown(capsys.readouterr().out, {overlong: lines, good: lines})


def test_a_warning_names_its_recording(
    model: Path, good: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loud = tmp_path / "100%.wav"
    sf.write(loud, 32768 * babble(2, seed=1), SAMPLE_RATE, "FLOAT")
    assert main(["translate", str(model), str(good), str(loud)]) == 0
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning.startswith(f"{loud}: the sample at 0.")


# Where words go.


def broken_pipe(buffered: bool = True) -> io.TextIOWrapper:
    reading, writing = os.pipe()
    os.close(reading)
    raw = io.FileIO(writing, "w")
    if buffered:
        return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8")
    return io.TextIOWrapper(raw, encoding="utf-8", write_through=True)  # type: ignore[type-var]


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_goes_away_is_no_error(
    buffered: bool, model: Path, good: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    """With PYTHONUNBUFFERED nothing is kept that would fail a second time."""
    with broken_pipe(buffered) as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["translate", str(model), str(good), str(good)]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("arguments", [["--help"], ["translate", "--help"]])
def test_no_command_complains_of_a_reader_that_goes_away(arguments: list[str]) -> None:
    """Not even when Python ends and flushes what is left."""
    script = f"import sys; from echostream.cli import main; sys.exit(main({arguments}))"
    with broken_pipe() as pipe:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=pipe, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_output_that_is_full_is_named(
    model: Path, good: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["translate", str(model), str(good)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("echostream translate: standard output cannot be written: ")
    assert "No space left" in line


def test_letters_that_the_output_has_not_are_escaped_and_nothing_is_lost(
    model: Path, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The rest of a recording was lost, and the message blamed the recording."""
    path = tmp_path / "\u00e9t\u00e9.flac"
    good.rename(path)
    buffer = io.BytesIO()
    ascii_output = io.TextIOWrapper(buffer, encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", ascii_output)
    assert main(["translate", str(model), str(path)]) == 0
    lines = buffer.getvalue().decode("ascii").splitlines()
    assert lines[0] == str(tmp_path / "\\xe9t\\xe9.flac")
    expected = [
        text.encode("ascii", "backslashreplace").decode() for _, text in expected_lines(model, path)
    ]
    assert [line.split(" s  ")[1] for line in lines[1:]] == expected
    assert capsys.readouterr().err == ""


def test_a_recording_longer_than_the_memory_does_not_end_the_command(
    model: Path, good: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    push = StreamingTranslator.push
    calls: list[int] = []

    def push_or_fail(self: StreamingTranslator, samples: np.ndarray, rate: int) -> list:
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError
        return push(self, samples, rate)

    monkeypatch.setattr(StreamingTranslator, "push", push_or_fail)
    assert main(["translate", str(model), str(good), str(good)]) == 1
    captured = capsys.readouterr()
    assert captured.err == (f"echostream translate: {good}: it needs more memory than there is.\n")
    assert captured.out.count(str(good)) == 2
