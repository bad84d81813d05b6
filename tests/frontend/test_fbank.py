"""Features: Kaldi's numbers, on time, the same however the samples are cut, in bounded memory."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echostream.frontend.fbank import OnlineFbank, fbank


def noise(num_samples: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(num_samples)).astype(np.float32)


def speech_like(num_samples: int) -> NDArray[np.float32]:
    """A gliding tone with harmonics, silences, an offset and a little noise."""
    time = np.arange(num_samples) / 16_000
    phase = 2 * np.pi * (120 * time + 30 * time**2)
    tone = sum(np.sin(k * phase) / k for k in range(1, 20))
    loudness = np.maximum(0.0, np.sin(2 * np.pi * 1.5 * time))
    return (0.2 * loudness * tone + 0.01 + 0.001 * noise(num_samples)).astype(np.float32)


def pushed(samples: NDArray[np.float32], cuts: list[int]) -> NDArray[np.float32]:
    online = OnlineFbank()
    return np.concatenate([online.push(piece) for piece in np.split(samples, cuts)])


def reference(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """The definition, frame by frame and bin by bin in float64: (S,) -> (S // 160, 80)."""

    def mel(hertz: float) -> float:
        return 1127 * math.log(1 + hertz / 700)

    padded = np.concatenate([np.zeros(240), samples.astype(np.float64) * 32768])
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    edges = np.linspace(mel(20), mel(8000), 82)
    frames = []
    for start in range(0, len(padded) - 399, 160):
        piece = padded[start : start + 400]
        piece = piece - piece.mean()
        piece = piece - 0.97 * np.concatenate([piece[:1], piece[:-1]])
        power = np.abs(np.fft.rfft(piece * window, 512)) ** 2
        frame = np.zeros(80)
        for index in range(80):
            left, centre, right = edges[index : index + 3]
            for k in range(256):
                position = mel(k * 16_000 / 512)
                if left < position <= centre:
                    frame[index] += power[k] * (position - left) / (centre - left)
                elif centre < position < right:
                    frame[index] += power[k] * (right - position) / (right - centre)
        frames.append(np.log(np.maximum(frame, np.finfo(np.float32).eps)))
    return np.stack(frames)


@pytest.mark.parametrize("samples", [noise(8000), speech_like(16_000)], ids=["noise", "glide"])
def test_frames_are_kaldis_log_mel(samples: NDArray[np.float32]) -> None:
    """Float32 FFTs differ from float64 ones by 1e-7 of the loudest bin, which the log enlarges."""
    expected = reference(samples)
    frames = fbank(samples)
    assert frames.dtype == np.float32
    assert frames.shape == expected.shape
    np.testing.assert_allclose(frames, expected, rtol=0, atol=2e-3)
    assert np.abs(frames - expected).mean() < 1e-5


def test_digital_silence_is_the_floor_of_the_logarithm() -> None:
    floor = np.log(np.finfo(np.float32).eps)
    np.testing.assert_allclose(fbank(np.zeros(1600, np.float32)), floor, rtol=1e-6)


@pytest.mark.parametrize("centre", [0, 160, 320, 400, 560, 800, 1200, 1600, 2000, 2560, 16_000])
def test_frame_count_is_samples_over_160(centre: int) -> None:
    for num_samples in range(max(0, centre - 5), centre + 6):
        assert fbank(noise(num_samples)).shape == (num_samples // 160, 80)


def test_frame_t_ends_at_sample_160_times_t_plus_1() -> None:
    """A change of one sample moves the frames whose 400 samples hold it, and no others."""
    samples = noise(3200)
    before = fbank(samples)
    for position in (0, 159, 160, 161, 399, 400, 1599, 1600, 3199):
        changed = samples.copy()
        changed[position] += 0.5
        moved = np.flatnonzero((fbank(changed) != before).any(axis=1))
        ends = 160 * (np.arange(20) + 1)
        # Windows are 0 at both ends; DC removal still makes their first and last sample count.
        holds = (ends - 400 <= position) & (position < ends)
        assert moved.tolist() == np.flatnonzero(holds).tolist()


@pytest.mark.parametrize("size", [1, 7, 159, 160, 161, 400, 1600, 5120])
def test_pieces_of_one_size_give_the_same_bits(size: int) -> None:
    samples = speech_like(8005)
    cuts = list(range(size, len(samples), size))
    assert np.array_equal(pushed(samples, cuts), fbank(samples))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 2085), max_size=12))
def test_any_cutting_gives_the_same_bits(cuts: list[int]) -> None:
    samples = noise(2085)
    assert np.array_equal(pushed(samples, sorted(cuts)), fbank(samples))


def test_a_push_longer_than_a_block_gives_the_same_bits() -> None:
    samples = noise(40_003)
    cuts = list(range(999, len(samples), 999))
    assert np.array_equal(pushed(samples, cuts), fbank(samples))


def test_every_push_gives_the_frames_that_are_due() -> None:
    online = OnlineFbank()
    num_samples = 0
    for size in (0, 1, 158, 1, 1, 159, 320, 5000, 0, 3):
        num_samples += size
        due = num_samples // 160 - online.num_frames
        assert len(online.push(noise(size))) == due
        assert online.num_frames == num_samples // 160


def test_streams_are_independent() -> None:
    first, second = noise(4000, 1), noise(4000, 2)
    left, right = OnlineFbank(), OnlineFbank()
    pieces = zip(np.split(first, 16), np.split(second, 16), strict=True)
    mixed = [(left.push(a), right.push(b)) for a, b in pieces]
    assert np.array_equal(np.concatenate([a for a, _ in mixed]), fbank(first))
    assert np.array_equal(np.concatenate([b for _, b in mixed]), fbank(second))


def test_frames_belong_to_the_caller() -> None:
    """kaldi-native-fbank lends views into memory that a later push frees."""
    online = OnlineFbank()
    frames = online.push(noise(1600))
    copy = frames.copy()
    for seed in range(20):
        online.push(noise(16_000, seed))
    assert np.array_equal(frames, copy)


def test_input_is_not_changed() -> None:
    samples = noise(1000)
    copy = samples.copy()
    fbank(samples)
    assert np.array_equal(samples, copy)


def test_float64_input_gives_the_same_bits_as_float32() -> None:
    samples = noise(1600)
    assert np.array_equal(fbank(samples.astype(np.float64)), fbank(samples))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((10, 2), np.float32), r"`samples` must have shape \(S,\).*\(10, 2\)"),
        (np.zeros(10, np.int16), "`samples` must be floating point.*int16"),
        (np.array([0.0, np.nan]), "`samples` must be finite"),
        (np.array([0.0, np.inf]), "`samples` must be finite"),
    ],
)
def test_refused_samples_leave_the_stream_as_it_was(
    samples: NDArray[np.floating], message: str
) -> None:
    online = OnlineFbank()
    first = online.push(noise(500))
    with pytest.raises(ValueError, match=message):
        online.push(samples)
    rest = online.push(noise(1000, 1))
    whole = fbank(np.concatenate([noise(500), noise(1000, 1)]))
    assert np.array_equal(np.concatenate([first, rest]), whole)


def test_frames_given_out_are_forgotten() -> None:
    online = OnlineFbank()
    online.push(noise(16_000))
    with pytest.raises(RuntimeError, match="already removed"):
        online._extractor.get_frame(99)


MEMORY_PROGRAM = """
import resource, sys
import numpy as np
from echostream.frontend.fbank import OnlineFbank

def peak_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

online = OnlineFbank()
segment = (0.1 * np.random.default_rng(0).standard_normal(5120)).astype(np.float32)
for _ in range(100):
    online.push(segment)
before = peak_bytes()
for _ in range(1875):
    online.push(segment)
assert online.num_frames == 32 * 1975
print(peak_bytes() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of memory is read as on Unix")
def test_ten_minutes_leave_nothing_behind() -> None:
    """Kept frames would be 19 MB and kept samples 38 MB; C++ allocates both: measured by peak."""
    run = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(run.stdout) < 4_000_000
