"""Whisper as a judge: features and word times by hand, and the model itself where there is one.

The last tests need CTranslate2 and the variable ECHOSTREAM_WHISPER with the folder of a model; see
benchmarks/whisper_base.py.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from echostream.scoring.judge.log_mel import HOP, SAMPLE_RATE, log_mel, mel_filters
from echostream.scoring.judge.transcript import JudgeError
from echostream.scoring.judge.whisper import (
    WhisperJudge,
    pieces,
    text_of_tokens,
    words_of_tokens,
)

ROOT = Path(__file__).resolve().parents[2]


def slaney_hz(mels: float) -> float:
    """Slaney's scale: 15 mels for the first 1000 Hz, then 27 for each factor of 6.4."""
    return mels * 1000 / 15 if mels < 15 else 1000 * 6.4 ** ((mels - 15) / 27)


@pytest.mark.parametrize("num_mels", [80, 128])
def test_the_filters_are_slaneys_triangles_of_equal_area(num_mels: int) -> None:
    top = 15 + 27 * math.log(8) / math.log(6.4)  # 8 kHz
    found = mel_filters(num_mels)
    assert found.shape == (num_mels, 201)
    for place in range(num_mels):
        low, centre, high = (slaney_hz(top * (place + i) / (num_mels + 1)) for i in range(3))
        for bin_, value in enumerate(found[place]):
            hz = bin_ * SAMPLE_RATE / 400
            height = 0.0
            if low < hz < high:
                height = (
                    (hz - low) / (centre - low) if hz <= centre else (high - hz) / (high - centre)
                )
            assert value == pytest.approx(height * 2 / (high - low), abs=1e-12)


def slow_log_mel(samples: NDArray[np.float32], num_frames: int) -> NDArray[np.float64]:
    """The definition, frame by frame and frequency by frequency."""
    padded = np.zeros(num_frames * HOP)
    kept = min(len(samples), len(padded))
    padded[:kept] = samples[:kept]
    mirrored = np.concatenate([padded[200:0:-1], padded, padded[-2:-202:-1]])
    places = np.arange(400)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * places / 400)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(201), places) / 400)
    frames = [
        np.log10(
            np.maximum(
                mel_filters(80) @ np.abs(waves @ (window * mirrored[t * HOP : t * HOP + 400])) ** 2,
                1e-10,
            )
        )
        for t in range(num_frames)
    ]
    levels = np.array(frames).T
    found: NDArray[np.float64] = (np.maximum(levels, levels.max() - 8) + 4) / 4
    return found


@pytest.mark.parametrize("length", [0, 1, 159, 1600, 3200, 5000])
def test_the_features_are_those_of_the_definition(length: int) -> None:
    samples = np.random.default_rng(length).normal(size=length).astype(np.float32)
    np.testing.assert_allclose(log_mel(samples, 20, 80), slow_log_mel(samples, 20), atol=1e-5)


@pytest.mark.parametrize("text", [" We see.", " À l'été, 猫", "\n\x00\x7f­ÿ", ""])
def test_tokens_hold_bytes_as_characters(text: str) -> None:
    # GPT-2's table, from its description: bytes that do not print are moved to U+0100 and on.
    moved = [b for b in range(256) if not (33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255)]
    token = "".join(
        chr(256 + moved.index(byte)) if byte in moved else chr(byte) for byte in text.encode()
    )
    assert text_of_tokens([token[:2], token[2:]]) == text


def test_a_word_ends_with_its_letters_and_not_with_the_punctuation_behind_it() -> None:
    tokens = ["ĠPar", "ents", ",", "Ġbut", "Ġ\u00e2\u0122\u0136", "Ġwe", "."]
    times = [0.1, 0.3, 0.6, 0.9, 1.1, 1.2, 1.5, 2.0]
    found = [tuple(word) for word in words_of_tokens(tokens, times)]
    assert found == [("Parents,", 0.1, 0.6), ("but —", 0.9, 1.1), ("we.", 1.2, 1.5)]


@pytest.mark.parametrize("seconds", [0, 5, 28.9, 29.1, 70, 200])
def test_pieces_cover_a_recording_and_end_in_its_pauses(seconds: float) -> None:
    samples = np.ones(round(seconds * SAMPLE_RATE), np.float32)
    pauses = range(0, len(samples), 8 * SAMPLE_RATE)
    for pause in pauses:
        samples[pause : pause + SAMPLE_RATE // 4] = 0
    found = pieces(samples)
    assert found[0][0] == 0 and found[-1][1] == len(samples)
    assert [end for _, end in found[:-1]] == [begin for begin, _ in found[1:]]
    assert all(end - begin <= 29 * SAMPLE_RATE for begin, end in found)
    assert all(samples[end] == 0 for _, end in found[:-1])


FOLDER = os.environ.get("ECHOSTREAM_WHISPER", "")
needs_whisper = pytest.mark.skipif(
    importlib.util.find_spec("ctranslate2") is None or not FOLDER,
    reason="needs CTranslate2 and ECHOSTREAM_WHISPER, a folder with a Whisper model",
)


def source_speech(number: int) -> Path:
    return ROOT / "examples" / "fr-en" / f"test-seen-2026-{number:07}.flac"


@needs_whisper
def test_whisper_finds_words_and_their_times(tmp_path: Path) -> None:
    judge = WhisperJudge(Path(FOLDER), "fr", word_times=True)
    path = source_speech(0)
    samples, rate = soundfile.read(path)
    soundfile.write(tmp_path / "stereo.wav", np.stack([samples, samples], axis=1), rate)
    plain, stereo = judge.transcribe([path, tmp_path / "stereo.wav"])
    assert plain.text == stereo.text and plain.words
    assert " ".join(word.text for word in plain.words) == plain.text
    times = [time for word in plain.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[-1] <= len(samples) / rate + 0.1


@needs_whisper
def test_a_recording_without_speech_and_one_over_30_s_are_transcribed(tmp_path: Path) -> None:
    judge = WhisperJudge(Path(FOLDER), "fr", word_times=True)
    samples, rate = soundfile.read(source_speech(1))
    pause = np.zeros(round(31 * rate))
    soundfile.write(tmp_path / "long.wav", np.concatenate([samples, pause, samples]), rate)
    soundfile.write(tmp_path / "short.wav", np.zeros(7), rate)
    long, short = judge.transcribe([tmp_path / "long.wav", tmp_path / "short.wav"])
    assert long.words and long.words[-1].end > 31 + len(samples) / rate / 2
    assert len(short.text) < 100


@needs_whisper
def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    for name in ("model.bin", "config.json"):
        (tmp_path / name).write_text(json.dumps({}))
    with pytest.raises(JudgeError, match="cannot be loaded"):
        WhisperJudge(tmp_path)
    with pytest.raises(JudgeError, match=r"with model\.bin"):
        WhisperJudge(tmp_path / "nowhere")
    with pytest.raises(JudgeError, match="the language must be one of the model"):
        WhisperJudge(Path(FOLDER), "xx")
