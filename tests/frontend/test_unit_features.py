"""Features of units: exact counts, exact alignment, the values of a slow transform."""

from __future__ import annotations

import numpy as np
import pytest

from echostream.frontend.unit_features import mel_bands, unit_features


def noise(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, size).astype(np.float32)


@pytest.mark.parametrize("size", [0, 1, 319, 320, 321, 639, 640, 3199, 3200, 3201])
def test_there_is_a_frame_for_every_whole_unit(size: int) -> None:
    assert unit_features(noise(size)).shape == (size // 320, 80)


def test_a_frame_is_that_of_a_transform_term_by_term() -> None:
    samples, unit = noise(3200), 4
    begin = 320 * unit - 160
    window = [0.5 - 0.5 * np.cos(2 * np.pi * n / 640) for n in range(640)]
    scale = np.sqrt(sum(w * w for w in window))
    n = np.arange(640)
    powers = []
    for k in range(513):
        terms = samples[begin : begin + 640] * window * np.exp(-2j * np.pi * k * n / 1024) / scale
        powers.append(abs(terms.sum()) ** 2)
    expected = np.log(np.array(powers) @ mel_bands(80, 1024, 40.0) + 1e-8)
    assert unit_features(samples)[unit] == pytest.approx(expected, abs=1e-4)


def test_a_click_is_in_the_frames_whose_windows_hold_it_and_loudest_in_its_own() -> None:
    samples = np.zeros(3200, np.float32)
    samples[320 * 5 + 160] = 0.5  # the middle of unit 5
    level = unit_features(samples).mean(1)
    assert level.argmax() == 5
    assert (level[[0, 1, 2, 3, 7, 8, 9]] < -18).all()


def test_white_noise_has_the_logarithm_of_its_variance_in_every_band() -> None:
    frames = unit_features(noise(160_000))
    assert np.log(np.exp(frames).mean(0)) == pytest.approx(np.log(0.01), abs=0.35)


def test_long_recordings_are_computed_in_blocks_without_a_seam() -> None:
    samples = noise(320 * 2100)
    whole = unit_features(samples)
    late = unit_features(samples[320 * 2000 :])
    assert whole[2001:] == pytest.approx(late[1:], abs=1e-5)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 640), np.float32), "shape"),
        (np.zeros(640, np.int16), "floating point"),
        (np.full(640, np.nan, np.float32), "finite"),
    ],
)
def test_what_is_no_speech_is_refused(samples: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unit_features(samples)
