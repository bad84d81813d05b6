"""Recordings that are written are whole, or the file is as it was and the error names it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from limits import full_disk
from numpy.typing import NDArray

from echostream.frontend.save_audio import save_audio


@pytest.mark.parametrize(
    ("format", "shape"),
    [("WAV", (0,)), ("WAV", (1,)), ("WAV", (5000, 2)), ("FLAC", (1,)), ("FLAC", (5000, 2))],
)
def test_floats_are_read_back_to_16_bits(
    tmp_path: Path, format: str, shape: tuple[int, ...]
) -> None:
    samples = np.random.default_rng(0).uniform(-1.2, 1.2, shape).astype(np.float32)
    path = tmp_path / "speech.audio"
    save_audio(path, samples, format=format)
    found, rate = sf.read(path, dtype="float32")
    assert rate == 16_000 and found.shape == shape and sf.info(path).subtype == "PCM_16"
    np.testing.assert_allclose(found, samples.clip(-1, 1), atol=1.6 / 32768)
    assert [file.name for file in tmp_path.iterdir()] == ["speech.audio"]


def test_whole_numbers_are_read_back_as_they_are(tmp_path: Path) -> None:
    samples: NDArray[np.int16] = np.array([0, 1, -1, 32767, -32768], np.int16)
    save_audio(tmp_path / "a.wav", samples, 8000)
    found, rate = sf.read(tmp_path / "a.wav", dtype="int16")
    assert rate == 8000 and found.tolist() == samples.tolist()


def test_a_name_that_is_not_utf_8_is_written(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    save_audio(path, np.zeros(10, np.float32))
    assert os.listdir(os.fsencode(tmp_path)) == [b"caf\xe9.wav"]


@pytest.mark.parametrize("format", ["WAV", "FLAC"])
@pytest.mark.parametrize("before", [None, b"an earlier one"])
def test_on_a_full_disk_the_file_is_named_and_as_it_was(
    tmp_path: Path, format: str, before: bytes | None
) -> None:
    path = tmp_path / "speech.wav"
    if before is not None:
        path.write_bytes(before)
    noise = np.random.default_rng(0).uniform(-1, 1, 50_000).astype(np.float32)
    with (
        full_disk(1000),
        pytest.raises(OSError, match=rf"{path}: cannot be written \(.* MB are free\)"),
    ):
        save_audio(path, noise, format=format)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([before] if before else [])
