"""Samples that are surely not what was meant bring a warning: once a stream, whatever the cuts."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_model import SAMPLE_RATE, babble

from echostream.frontend.cmvn import GlobalCmvn
from echostream.frontend.fbank import NUM_MEL_BINS
from echostream.frontend.online import StreamFeatures

CMVN = GlobalCmvn(np.zeros(NUM_MEL_BINS, np.float32), np.ones(NUM_MEL_BINS, np.float32))


def warnings_of(
    samples: NDArray[np.floating],
    caplog: pytest.LogCaptureFixture,
    size: int = 5120,
    rate: int = SAMPLE_RATE,
) -> list[str]:
    """The warnings of a stream that is given in pieces of this size."""
    caplog.clear()
    features = StreamFeatures(CMVN, tail_ms=0, max_future_frames=0)
    with caplog.at_level(logging.WARNING):
        for start in range(0, len(samples), size):
            features.push(samples[start : start + size], rate)
        features.finish()
    return [record.getMessage() for record in caplog.records]


def opposite(seconds: float, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Two channels whose mean is silence."""
    left = babble(seconds, seed=1, sample_rate=rate)
    return np.stack([left, -left], axis=1)


def test_integers_that_were_not_divided_bring_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They were translated into nonsense without a word."""
    samples = np.round(32768 * babble(3, seed=1)).astype(np.float32)
    (warning,) = warnings_of(samples, caplog)
    assert "but samples must be in [-1, 1]" in warning and "divided" in warning
    first = int(np.argmax(np.abs(samples) > 8))
    assert f"the sample at {first / SAMPLE_RATE:.3f} s is {samples[first]:.5g}" in warning


def test_a_recording_that_is_a_little_too_loud_brings_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    samples = babble(3, seed=1)
    for peak in (1.2, 4.0):
        assert warnings_of(peak * samples / np.abs(samples).max(), caplog) == []


def test_channels_that_cancel_out_bring_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was translated, without a word."""
    (warning,) = warnings_of(opposite(3), caplog)
    assert "the channels cancel out: from 0.000 to 1.000 s" in warning


def test_a_short_stream_whose_channels_cancel_out_brings_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (warning,) = warnings_of(opposite(0.3), caplog)
    assert "from 0.000 to 0.300 s" in warning


@pytest.mark.parametrize("size", [1, 7, 160, 5120, 48_000, 10**6])
def test_the_warnings_do_not_depend_on_the_cuts(
    caplog: pytest.LogCaptureFixture, size: int
) -> None:
    rate = 8000
    good = np.stack(2 * [babble(1.7, seed=2, sample_rate=rate)], axis=1)
    samples = np.concatenate([good, 200 * opposite(2.5, rate), good])
    found = warnings_of(samples, caplog, size, rate)
    assert len(found) == 2
    assert sorted(found) == sorted(warnings_of(samples, caplog, 1000, rate))


def ordinary() -> dict[str, NDArray[np.floating]]:
    left, right = babble(3, seed=1), babble(3, seed=2)
    rng = np.random.default_rng(0)
    return {
        "mono": left,
        "one channel": left[:, None],
        "two voices": np.stack([left, right], axis=1),
        "one silent": np.stack([left, 0 * left], axis=1),
        "delayed": np.stack([left, np.roll(left, 12)], axis=1),
        "silence": np.zeros((48_000, 2), np.float32),
        "faint": 1e-4 * np.stack([left, -left], axis=1),
        "noise of 64 microphones": 0.1 * rng.standard_normal((32_000, 64)),
        "a pause of the one voice": np.stack([left, np.where(left > 9, left, 0)], axis=1),
    }


@pytest.mark.parametrize("name", ordinary())
def test_ordinary_channels_bring_none(caplog: pytest.LogCaptureFixture, name: str) -> None:
    assert warnings_of(ordinary()[name], caplog) == []


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.longdouble])
def test_infinity_in_any_precision_is_silence_and_the_stream_goes_on(
    caplog: pytest.LogCaptureFixture, kind: type[np.floating]
) -> None:
    """In float16 it went through, raised an error further down and left a stream half changed."""
    broken = babble(2, seed=1).astype(np.float16)
    zeroed = broken.astype(np.float32)
    broken[[100, 20_000]], zeroed[[100, 20_000]] = (np.inf, np.nan), 0
    found, expected = (StreamFeatures(CMVN, 0, 0) for _ in range(2))
    for start in range(0, len(broken), 5000):
        found.push(broken[start : start + 5000].astype(kind), SAMPLE_RATE)
        expected.push(zeroed[start : start + 5000], SAMPLE_RATE)
    assert found.num_groups == expected.num_groups == 12
    assert np.array_equal(found.peek(12).frames, expected.peek(12).frames)
    assert [r.getMessage() for r in caplog.records] == [
        "set to zero: 1 samples that are NaN, infinite or too large."
    ]


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.zeros((3, 2, 2)), SAMPLE_RATE),
        (np.zeros(3, np.int16), SAMPLE_RATE),
        (np.zeros(3, complex), SAMPLE_RATE),
        (np.array(["a"]), SAMPLE_RATE),
        (np.array([None, 1.0]), SAMPLE_RATE),
        (np.zeros(3), 8000),
        (np.zeros(3), "16000"),
        (np.zeros(3), None),
        (np.zeros(3), float("nan")),
    ],
)
def test_a_stream_is_as_it_was_after_samples_that_are_refused(
    samples: NDArray[np.generic], rate: object
) -> None:
    speech = babble(1, seed=1)
    found, expected = (StreamFeatures(CMVN, 0, 0) for _ in range(2))
    found.push(speech[:8000], SAMPLE_RATE)
    with pytest.raises(ValueError, match=r"`(samples|sample_rate)` must"):
        found.push(samples, rate)  # type: ignore[arg-type]
    found.push(speech[8000:], SAMPLE_RATE)
    expected.push(speech, SAMPLE_RATE)
    assert found.delay_ms == expected.delay_ms
    assert np.array_equal(found.peek(6).frames, expected.peek(6).frames)
