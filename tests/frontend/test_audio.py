"""Audio that can be read is read; what cannot is named in a clear error with the path."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from echostream.frontend.audio import MAX_CHANNELS, AudioError, check_samples, clean, read_audio
from echostream.frontend.audio_header import read_header
from echostream.frontend.fbank import fbank
from echostream.frontend.resample import resample

RATE = 16_000


def tone(num_samples: int = RATE, rate: int = RATE) -> NDArray[np.float32]:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(num_samples) / rate)).astype(np.float32)


def write(path: Path, samples: NDArray[np.floating], rate: int = RATE, **kind: str) -> Path:
    sf.write(path, samples, rate, **kind)
    return path


def cut(path: Path, num_bytes: int) -> Path:
    path.write_bytes(path.read_bytes()[:num_bytes])
    return path


@pytest.fixture(autouse=True)
def _all_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "FLOAT", 0.0),
        ("wav", "DOUBLE", 0.0),
        ("wav", "PCM_32", 2**-24),
        ("wav", "PCM_24", 2**-22),
        ("wav", "PCM_16", 2**-14),
        ("wav", "PCM_U8", 2**-6),
        ("wav", "ULAW", 0.02),
        ("flac", "PCM_24", 2**-22),
        ("flac", "PCM_16", 2**-14),
        ("aiff", "PCM_16", 2**-14),
        ("ogg", "VORBIS", 0.05),
        ("mp3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_every_kind_of_file_gives_its_samples(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, subtype: str, tolerance: float
) -> None:
    path = write(tmp_path / f"a.{suffix}", tone(), subtype=subtype)
    samples, rate = read_audio(path)
    assert (samples.shape, rate) == ((RATE,), RATE)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, tone(), rtol=0, atol=tolerance)
    assert not caplog.records


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    assert read_audio(str(write(tmp_path / "a.wav", tone())))[1] == RATE


def test_8_khz_keeps_its_rate(tmp_path: Path) -> None:
    samples, rate = read_audio(write(tmp_path / "a.wav", tone(8000, 8000), 8000))
    assert (samples.shape, rate) == ((8000,), 8000)


def test_48_khz_stereo_keeps_rate_and_channels(tmp_path: Path) -> None:
    left = tone(48_000, 48_000)
    stereo = np.stack([left, 0 * left], axis=1)
    samples, rate = read_audio(write(tmp_path / "a.wav", stereo, 48_000, subtype="FLOAT"))
    assert rate == 48_000
    assert np.array_equal(samples, stereo)


def test_48_khz_stereo_ends_up_as_the_features_of_16_khz_mono(tmp_path: Path) -> None:
    left = tone(48_000, 48_000)
    stereo = np.stack([left, left], axis=1)
    samples, rate = read_audio(write(tmp_path / "a.wav", stereo, 48_000, subtype="FLOAT"))
    frames = fbank(resample(clean(samples)[0], rate))
    assert frames.shape == (100, 80)
    # The bins that carry the tone; the others hold nothing but rounding.
    loud = fbank(tone())[50] > 10
    np.testing.assert_allclose(frames[10:90, loud], fbank(tone())[10:90, loud], atol=0.01)


def test_a_long_mp3_is_right_to_its_end(tmp_path: Path) -> None:
    """Read in blocks, an MP3 came out silent after the first: soundfile seeks after each read."""
    samples, _ = read_audio(write(tmp_path / "a.mp3", tone(10 * RATE)))
    np.testing.assert_allclose(samples, tone(10 * RATE), rtol=0, atol=0.05)


def test_nan_and_infinity_in_a_float_file_are_read_and_then_cleaned(tmp_path: Path) -> None:
    broken = tone()
    broken[[5, 6, 7]] = np.nan, np.inf, -np.inf
    samples, _ = read_audio(write(tmp_path / "a.wav", broken, subtype="FLOAT"))
    assert np.array_equal(samples, broken, equal_nan=True)
    mono, num_unusable = clean(samples)
    assert num_unusable == 3
    broken[5:8] = 0
    assert np.array_equal(mono, broken)


# What cannot be read.


def zero_samples(path: Path) -> Path:
    return write(path, tone(0))


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def text(path: Path) -> Path:
    path.write_text("This is not audio.\n" * 100)
    return path


def zeros(path: Path) -> Path:
    path.write_bytes(bytes(5000))
    return path


def directory(path: Path) -> Path:
    path.mkdir()
    return path


def ac3(path: Path) -> Path:
    path.write_bytes(b"\x0b\x77" + bytes(range(256)))
    return path


def unknown(path: Path) -> Path:
    path.write_bytes(bytes(range(1, 256)))
    return path


def missing(path: Path) -> Path:
    return path


def in_a_missing_folder(path: Path) -> Path:
    return path.parent / "none" / path.name


@pytest.mark.parametrize(
    ("make", "name", "reason"),
    [
        (missing, "a.wav", "no such file"),
        (in_a_missing_folder, "a.wav", "no such file"),
        (directory, "a.wav", "is a directory"),
        (empty, "a.wav", "is empty"),
        (empty, "a.mp3", "is empty"),
        (zero_samples, "a.wav", "no samples"),
        (zero_samples, "a.flac", "is empty"),  # libsndfile writes no byte
        (text, "a.wav", "Format not recognised"),
        (text, "a.flac", "Format not recognised"),
        (text, "a.mp3", "no MP3 frame"),
        (zeros, "a.wav", "Format not recognised"),
        (zeros, "a.raw", "without a header"),
        (ac3, "a.ac3", "looks like an AC-3 file: convert it, for example with `ffmpeg"),
        (unknown, "a.xyz", "Format not recognised. If another program plays it, convert it"),
    ],
)
def test_what_is_not_audio_is_named_with_the_reason(
    tmp_path: Path, make: Callable[[Path], Path], name: str, reason: str
) -> None:
    path = make(tmp_path / name)
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "aiff"])
def test_a_file_cut_in_its_header_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    for num_bytes in (1, 4, 10, 20, 30, 40):
        cut(write(path, tone()), num_bytes)
        with pytest.raises(AudioError, match=rf"a\.{suffix} cannot be read as audio: .{{3}}"):
            read_audio(path)


def test_a_wav_with_its_header_only_is_named(tmp_path: Path) -> None:
    path = cut(write(tmp_path / "a.wav", tone()), 44)
    with pytest.raises(AudioError, match=r"declares 32000 bytes of audio but 0 follow"):
        read_audio(path)


# What can be read in part: the readable part is returned, and a warning is logged.


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.aiff", "a.w64", "a.au"])
def test_a_file_cut_in_the_middle_gives_what_there_is_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = write(tmp_path / name, tone(5 * RATE))
    whole, _ = read_audio(path)
    assert not caplog.records
    cut(path, path.stat().st_size // 2)
    samples, rate = read_audio(path)
    assert rate == RATE
    assert 1.5 * RATE < len(samples) < 3.5 * RATE
    # The last MP3 frame leans on the one after it.
    kept = len(samples) - 2000
    np.testing.assert_allclose(samples[:kept], whole[:kept], atol=1e-3)
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert f"only the first {len(samples) / RATE:.3f} s" in record.getMessage()


def test_a_damaged_flac_gives_what_comes_before_the_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.flac", tone(5 * RATE))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(data)
    samples, _ = read_audio(path)
    assert RATE < len(samples) < 4 * RATE
    np.testing.assert_allclose(samples, tone(5 * RATE)[: len(samples)], atol=1e-4)
    assert "cut off or damaged" in caplog.text


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_FFFF])
def test_a_wav_written_to_a_pipe_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    path = write(tmp_path / "a.wav", tone(), subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = size.to_bytes(4, "little")
    path.write_bytes(data)
    samples, _ = read_audio(path)
    assert len(samples) == RATE
    assert not caplog.records


@pytest.mark.parametrize("read", [read_audio, read_header])
def test_a_file_of_more_channels_than_a_recording_has_is_named(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    path = write(tmp_path / "a.wav", np.zeros((100, MAX_CHANNELS), np.float32))
    read(path)
    write(path, np.zeros((100, MAX_CHANNELS + 1), np.float32))
    wanted = f"{path} cannot be read as audio: it must have at most 64 channels, but has 65 instead"
    with pytest.raises(AudioError, match=wanted):
        read(path)


# clean


@pytest.mark.parametrize("shape", [(1, 160), (2, 5120), (5120, MAX_CHANNELS + 1)])
def test_samples_with_the_channels_first_are_refused(shape: tuple[int, int]) -> None:
    """The layout of torchaudio: two samples of 5120 channels became almost no sound."""
    with pytest.raises(
        ValueError, match=r"must have shape \(S,\) or \(S, C\) with at most"
    ) as error:
        clean(np.zeros(shape, np.float32))
    assert str(shape) in str(error.value)
    assert len(clean(np.zeros((3, MAX_CHANNELS), np.float32))[0]) == 3


@pytest.mark.parametrize("samples", [b"\1\2", "ab", None, [None]])
def test_what_is_no_array_of_numbers_is_refused_by_its_type(samples: object) -> None:
    with pytest.raises(ValueError, match=r"`samples` must be floating point .* has dtype"):
        clean(np.asarray(samples))


def test_clean_averages_channels() -> None:
    stereo = np.array([[0.5, 0.1], [-0.5, 0.5], [0.0, 1.0]], np.float32)
    mono, num_unusable = clean(stereo)
    assert mono.dtype == np.float32
    np.testing.assert_allclose(mono, [0.3, 0.0, 0.5], atol=1e-7)
    assert num_unusable == 0


def test_one_broken_channel_does_not_silence_the_other() -> None:
    stereo = np.array([[0.5, np.nan], [0.5, np.inf]], np.float32)
    mono, num_unusable = clean(stereo)
    assert mono.tolist() == [0.25, 0.25]
    assert num_unusable == 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.1e6, -1e30, 1e300])
def test_what_would_break_the_features_becomes_zero_and_is_counted(value: float) -> None:
    samples = tone(800).astype(np.float64)
    samples[400] = value
    mono, num_unusable = clean(samples)
    assert (num_unusable, mono[400]) == (1, 0.0)
    assert np.isfinite(fbank(mono)).all()


def test_the_loudest_samples_let_through_keep_features_finite() -> None:
    loud = (1e6 * np.sign(tone(1600))).astype(np.float32)
    mono, num_unusable = clean(loud)
    assert num_unusable == 0
    assert np.isfinite(fbank(mono)).all()


def test_good_mono_samples_pass_unchanged_and_the_input_is_not_written_to() -> None:
    samples = tone()
    assert np.array_equal(clean(samples)[0], tone())
    broken = np.array([np.nan, 0.5], np.float32)
    clean(broken)
    assert np.isnan(broken[0])


@pytest.mark.parametrize("shape", [(0,), (0, 2)])
def test_no_samples_are_fine(shape: tuple[int, ...]) -> None:
    mono, num_unusable = clean(np.empty(shape, np.float32))
    assert (mono.shape, num_unusable) == ((0,), 0)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 2, 2), np.float32), r"shape \(S,\) or \(S, C\), but has shape \(2, 2, 2\)"),
        (np.zeros((2, 0), np.float32), r"shape \(S,\) or \(S, C\), but has shape \(2, 0\)"),
        (np.array(0.0), r"shape \(S,\) or \(S, C\), but has shape \(\)"),
        (np.zeros(2, np.int16), "floating point.*dtype int16"),
    ],
)
def test_clean_refuses_what_is_not_sound(samples: NDArray[np.floating], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clean(samples)


def test_what_clean_gives_passes_the_check_of_the_front_end() -> None:
    check_samples(clean(np.array([[np.nan, 1.0], [1e300, 0.0]]))[0])


@pytest.mark.parametrize("kind", [np.float16, np.longdouble, ">f4"])
def test_samples_of_every_precision_are_cleaned_alike(kind: str | type[np.floating]) -> None:
    """Compared in float16, whose largest value is 65504, the limit of 1e6 was infinite itself."""
    broken = tone(800).astype(np.float16).astype(kind)
    broken[[3, 4, 5]] = np.nan, np.inf, -np.inf
    expected = tone(800).astype(np.float16).astype(np.float32)
    expected[3:6] = 0
    mono, num_unusable = clean(broken)
    assert (mono.dtype, num_unusable) == (np.dtype(np.float32), 3)
    assert np.array_equal(mono, expected)
    both, _ = clean(np.stack([broken, broken], axis=1))
    assert np.array_equal(both, expected)
