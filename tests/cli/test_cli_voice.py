"""`--voice` of the commands: a model of text alone speaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from espeak_needed import needs_espeak
from tiny_model import TARGET_TEXT
from tiny_voice import make_voice_folder

from echostream.cli import main

pytestmark = needs_espeak

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def voice(tmp_path: Path) -> str:
    return f"piper:{make_voice_folder(tmp_path / 'voice')}"


def loudest(path: Path, channel: int = 0) -> float:
    samples, rate = sf.read(path, always_2d=True)
    assert rate == 16_000
    return float(np.abs(samples[:, channel]).max())


def test_translate_writes_the_speech_of_a_voice(
    model: Path, good: Path, tmp_path: Path, voice: str, capsys: Capture
) -> None:
    out = tmp_path / "out"
    words = ["translate", str(model), str(good), "--speech-output", str(out), "--voice", voice]
    assert main(words) == 0, capsys.readouterr().err
    assert loudest(out / "good.flac.wav") > 0.1


def test_translate_refuses_a_voice_without_a_place_for_the_speech(
    model: Path, good: Path, voice: str, capsys: Capture
) -> None:
    assert main(["translate", str(model), str(good), "--voice", voice]) == 2
    assert "`--voice` needs `--speech-output`" in capsys.readouterr().err


def test_speak_writes_both_channels(
    model: Path, good: Path, tmp_path: Path, voice: str, capsys: Capture
) -> None:
    out = tmp_path / "out"
    assert main(["speak", str(model), str(good), "--output", str(out), "--voice", voice]) == 0
    assert min(loudest(out / "good.wav", 0), loudest(out / "good.wav", 1)) > 0.1
    assert "page:" in capsys.readouterr().out


def test_texts_are_spoken_whole(model: Path, tmp_path: Path, voice: str, capsys: Capture) -> None:
    texts, out = tmp_path / "texts.txt", tmp_path / "out"
    texts.write_text("\n".join(TARGET_TEXT[:2]))
    words = ["units", "speak", str(model), str(texts), "--output", str(out), "--voice", voice]
    assert main(words) == 0
    assert min(loudest(out / f"{number}.wav") for number in range(2)) > 0.1
    assert main([*words, "--unit-decoder", str(tmp_path)]) == 2
    assert "`--voice` speaks without `--unit-decoder`" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["joe", "piper:/nowhere"])
def test_a_voice_that_cannot_be_used_is_one_line(
    model: Path, good: Path, tmp_path: Path, name: str, capsys: Capture
) -> None:
    out = tmp_path / "out"
    words = ["translate", str(model), str(good), "--speech-output", str(out), "--voice", name]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("echostream translate: ") and name.removeprefix("piper:") in line
    assert not out.exists()
