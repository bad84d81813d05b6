"""The lengths in headers are not relied upon: the data that is there is read, and no more."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from piped_file import piped
from test_audio import RATE, cut, tone, write

from echostream.frontend.audio import (
    AudioError,
    FaultyFiles,
    read_audio,
    read_audio_stream,
)

SECONDS = 5


@pytest.fixture(autouse=True)
def _all_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


def noise(seconds: float = SECONDS) -> np.ndarray:
    rng = np.random.default_rng(0)
    loud = np.repeat(rng.random(int(2 * seconds)), RATE // 2)  # VBR needs something to vary with
    return (0.3 * loud * rng.standard_normal(len(loud))).astype(np.float32)


def flac_declaring(path: Path, count: int) -> Path:
    """A FLAC file whose header declares this many samples; 0 means unknown."""
    data = bytearray(write(path, tone(SECONDS * RATE)).read_bytes())
    data[21] = data[21] & 0xF0 | count >> 32
    data[22:26] = (count & 0xFFFF_FFFF).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def mp3_without_header(path: Path) -> Path:
    """MP3 of variable bit rate without the Xing frame at its head, as many players' files are."""
    with sf.SoundFile(path, "w", RATE, 1, bitrate_mode="VARIABLE", compression_level=0.5) as file:
        file.write(noise())
    data = path.read_bytes()
    assert b"Xing" in data[:64]
    following = data.index(data[:2], 4)
    path.write_bytes(data[following:])
    return path


def test_a_flac_that_leaves_its_length_open_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples, _ = read_audio(flac_declaring(tmp_path / "a.flac", 0))
    np.testing.assert_allclose(samples, tone(SECONDS * RATE), atol=1e-4)
    assert not caplog.records


def test_a_flac_that_declares_days_costs_only_what_it_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples, _ = read_audio(flac_declaring(tmp_path / "a.flac", 2**36 - 1))
    np.testing.assert_allclose(samples, tone(SECONDS * RATE), atol=1e-4)
    assert "68719476735 samples are declared but 80000 follow" in caplog.text


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32", "NMS_ADPCM_16", "IMA_ADPCM", "ULAW"])
def test_telephone_formats_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, subtype: str
) -> None:
    """libsndfile cannot seek in some of them."""
    samples, rate = read_audio(write(tmp_path / "a.wav", tone(8000, 8000), 8000, subtype=subtype))
    assert rate == 8000 and 8000 <= len(samples) < 8800
    assert np.corrcoef(samples[800:7000], tone(8000, 8000)[800:7000])[0, 1] > 0.9
    assert not caplog.records


def as_if_killed(path: Path, sizes: dict[int, int], order: str) -> Path:
    data = bytearray(write(path, tone(SECONDS * RATE), subtype="PCM_16").read_bytes())
    for position, size in sizes.items():
        data[position : position + 4] = size.to_bytes(4, order)  # type: ignore[arg-type]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "sizes", "order"),
    [
        ("a.wav", {4: 0, 40: 0}, "little"),
        ("a.wav", {40: 0}, "little"),
        ("a.wav", {4: 36, 40: 0}, "little"),
        ("a.wav", {4: 0xFFFF_FFFF, 40: 0}, "little"),
        ("a.wav", {4: 36 + RATE, 40: RATE}, "little"),  # as it was after half a second
        ("a.au", {8: 0}, "big"),
        ("a.au", {8: RATE}, "big"),
        ("a.aiff", {4: 0, 42: 8, 22: 0}, "big"),
    ],
)
def test_what_a_killed_recorder_has_not_counted_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, sizes: dict[int, int], order: str
) -> None:
    samples, _ = read_audio(as_if_killed(tmp_path / name, sizes, order))
    np.testing.assert_allclose(samples, tone(SECONDS * RATE), atol=1e-4)
    (record,) = caplog.records
    assert "more follow: all are read" in record.getMessage()


@pytest.mark.parametrize("riff", [0, 0xFFFF_FFFF])
@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000, 0x8000_0000])
def test_a_wav_with_an_unknown_length_is_read_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, riff: int, size: int
) -> None:
    samples, _ = read_audio(as_if_killed(tmp_path / "a.wav", {4: riff, 40: size}, "little"))
    assert len(samples) == SECONDS * RATE
    assert not caplog.records


@pytest.mark.parametrize(
    "rest", [b"", b"LIST\x04\0\0\0abcd", b"id3 \x05\0\0\0hello", bytes(4000), b"junk" * 100]
)
def test_what_programs_append_to_a_wav_is_no_audio(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rest: bytes
) -> None:
    path = write(tmp_path / "a.wav", tone())
    path.write_bytes(path.read_bytes() + rest)
    samples, _ = read_audio(path)
    assert len(samples) == RATE
    assert not caplog.records


@pytest.mark.parametrize("rest", [b"", b"LIST\x04\0\0\0abcd"])
def test_a_wav_without_samples_stays_one_without_samples(tmp_path: Path, rest: bytes) -> None:
    path = write(tmp_path / "a.wav", tone(0))
    path.write_bytes(path.read_bytes() + rest)
    with pytest.raises(AudioError, match="holds no samples"):
        read_audio(path)


def tagged(data: bytes) -> bytes:
    """ID3 with a cover of 100 kB in front."""
    size = 100_000
    seven_bits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + seven_bits + bytes(size) + data


@pytest.mark.parametrize("around", [lambda data: data, tagged, lambda data: data + b"TAG" * 40])
def test_an_mp3_without_a_header_is_read_to_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, around: Callable[[bytes], bytes]
) -> None:
    """libsndfile guesses the length from the first frame: a fifth of it was read."""
    path = mp3_without_header(tmp_path / "a.mp3")
    path.write_bytes(around(path.read_bytes()))
    samples, _ = read_audio(path)
    assert len(samples) == pytest.approx(SECONDS * RATE, abs=2500)
    expected = np.abs(noise()).reshape(-1, RATE // 2).mean(axis=1)
    found = np.abs(samples[1105:][: len(noise())])
    found = np.pad(found, (0, len(noise()) - len(found))).reshape(-1, RATE // 2).mean(axis=1)
    np.testing.assert_allclose(found, expected, atol=0.03)
    assert not caplog.records


def test_two_mp3_files_in_one_are_not_shortened_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.mp3", tone(SECONDS * RATE))
    path.write_bytes(2 * path.read_bytes())
    read_audio(path)
    assert "the Xing header leaves out the last" in caplog.text


def test_an_ogg_without_its_end_is_not_shortened_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.ogg", noise())
    cut(path, path.stat().st_size * 2 // 3)
    assert 0.3 * SECONDS < len(read_audio(path)[0]) / RATE < SECONDS
    assert "the stream has no end: it is cut off" in caplog.text


def test_two_ogg_streams_in_one_file_are_not_shortened_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.ogg", noise())
    path.write_bytes(2 * path.read_bytes())
    read_audio(path)
    assert "only the first of several streams" in caplog.text


def test_an_endless_silence_in_a_small_file_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    with sf.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(90):
            file.write(np.zeros(2**20, np.int16))
    assert 2**26 <= len(read_audio(path)[0]) < 90 * 2**20


@pytest.mark.parametrize("rate", [1, 999, 768_001])
def test_a_sample_rate_beyond_reason_is_refused(tmp_path: Path, rate: int) -> None:
    """Brought to 16 kHz, a second at 1 Hz is 16000 samples for one."""
    path = write(tmp_path / "a.wav", tone(1000), rate)
    with pytest.raises(AudioError, match=rf"a\.wav .* must be from 1000 to 768000 Hz.*{rate} inst"):
        read_audio(path)


# What is no file, and what is no audio.


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        (b"\0\0\0\x18ftypM4A ", "an MPEG-4 file.*`ffmpeg -i FILE FILE.flac`"),
        (b"\x1aE\xdf\xa3\x01\0", "a Matroska or WebM file.*ffmpeg"),
        (b"\xff\xf1\x50\x80", "an AAC file.*ffmpeg"),
        (b"<!DOCTYPE html><html>", "an HTML page: .*download"),
        (b"\n<html><body>404", "an HTML page: .*download"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS.*`git lfs pull`"),
        (b"/annex/objects/SHA256E-s1", "git-annex pointer"),
        (b'{"error": "not found"}', "JSON"),
        (b"bonjour\ttout le monde\n", "a text file"),
        (b"PK\x03\x04\x14", "a zip archive"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"\x80\x04\x95", "a Python pickle"),
        (b"\x93NUMPY\x01", "a NumPy array"),
        (b"\0" * 600, "nothing but zeros"),
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a"])
def test_the_likely_kind_of_a_file_is_named(
    tmp_path: Path, begin: bytes, words: str, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(begin)
    with pytest.raises(AudioError, match=words) as caught:
        read_audio(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "words"),
    [(pipe, "a named pipe"), (unix_socket, "a socket"), (device, "a device")],
)
def test_what_is_no_file_is_refused_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], words: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    make(Path("a.wav"))
    with pytest.raises(AudioError, match=rf"a\.wav cannot be read as audio: it is {words}"):
        read_audio("a.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_audio_from_a_pipe_is_what_the_file_gives(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, tone())
    with piped(path) as reading, open(reading, "rb") as end:
        samples, rate = read_audio_stream(end, "standard input")
    expected, expected_rate = read_audio(path)
    assert rate == expected_rate and np.array_equal(samples, expected)


@pytest.mark.parametrize("content", [b"", b"not audio"])
def test_a_pipe_without_audio_is_named_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(content)
    with path.open("rb") as file, pytest.raises(AudioError, match=r"^standard input cannot be"):
        read_audio_stream(file, "standard input")


def test_a_path_that_is_not_utf_8_is_read_and_named(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/entendu \xe9t\xe9.flac"
    write(tmp_path / "a.flac", tone()).rename(os.fsdecode(path))
    for given in (path, os.fsdecode(path), Path(os.fsdecode(path))):
        assert len(read_audio(given)[0]) == RATE
    os.truncate(path, 20)
    with pytest.raises(AudioError, match=r"entendu \\xe9t\\xe9\.flac cannot be read"):
        read_audio(path)


def test_a_fault_of_many_files_is_logged_once_and_then_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = FaultyFiles()
    for _ in range(3):
        for number in range(12):
            path = tmp_path / f"{number}.wav"
            if not path.exists():
                cut(write(path, tone()), 20_000 + number)
            read_audio(path, faulty)
    first, count = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"{tmp_path / '0.wav'}: only the first 0.6")
    assert count == "10 files have this fault: fewer bytes than declared."
