"""Features that discrete units are learned from: one log-mel vector for each unit of 20 ms.

Unit t is the samples `320 t` to `320 t + 319`; its window of 40 ms has the same centre, so it
begins 160 samples before the unit. S samples have exactly `S // 320` frames. What lies outside the
recording is zero.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from echostream.frontend.audio import check_samples
from echostream.streaming.clock import SAMPLE_RATE, UNIT_SAMPLES

NUM_FEATURES = 80
WINDOW_SAMPLES = 640  # 40 ms: two periods of a voice of 50 Hz
_FFT = 1024
_LOWEST_HZ = 40.0
_FLOOR = 1e-8  # power of a band: 80 dB below full scale
_BLOCK = 2048  # frames at a time, so that memory stays bounded


def unit_features(samples: NDArray[np.floating]) -> NDArray[np.float32]:
    """Log-mel features of a recording: (S,) at 16 kHz in [-1, 1] -> (S // 320, 80).

    A Hann window, 80 triangular mel bands from 40 Hz to 8 kHz, the natural logarithm of the mean
    power of each band (of white noise: its variance).

    Raises ValueError for another number of axes, integer samples, or values that are not finite.
    """
    check_samples(samples)
    num_frames = len(samples) // UNIT_SAMPLES
    margin = (WINDOW_SAMPLES - UNIT_SAMPLES) // 2
    padded = np.pad(samples.astype(np.float32), (margin, margin))
    window, bands = _window(), mel_bands(NUM_FEATURES, _FFT, _LOWEST_HZ)
    frames = np.empty((num_frames, NUM_FEATURES), np.float32)
    for start in range(0, num_frames, _BLOCK):
        stop = min(num_frames, start + _BLOCK)
        pieces = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[
            start * UNIT_SAMPLES : (stop - 1) * UNIT_SAMPLES + 1 : UNIT_SAMPLES
        ]  # (T, 640)
        power = np.abs(np.fft.rfft(pieces * window, _FFT)) ** 2
        frames[start:stop] = np.log(power @ bands + _FLOOR)
    return frames


def mel(hertz: NDArray[np.floating]) -> NDArray[np.float64]:
    """Frequency in mel (O'Shaughnessy): 2595 log10(1 + f / 700)."""
    return 2595 * np.log10(1 + np.asarray(hertz, np.float64) / 700)


@cache
def mel_bands(
    num_bands: int, fft_size: int, lowest: float, least_width: float = 0.0
) -> NDArray[np.float64]:
    """Triangular bands, evenly spaced in mel, `(fft_size // 2 + 1, num_bands)`; each sums to 1.

    A band is at least `least_width` Hz wide on either side of its centre.
    """
    highest = SAMPLE_RATE / 2
    edges = np.linspace(mel(np.array(lowest)), mel(np.array(highest)), num_bands + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    bins = np.arange(fft_size // 2 + 1)[:, None] * SAMPLE_RATE / fft_size
    centre = hertz[1:-1]
    left = np.maximum(centre - hertz[:-2], least_width)
    right = np.maximum(hertz[2:] - centre, least_width)
    weights = np.minimum(1 - (centre - bins) / left, 1 - (bins - centre) / right).clip(0)
    return weights / weights.sum(0)  # type: ignore[no-any-return]


@cache
def _window() -> NDArray[np.float64]:
    """A periodic Hann window of power 1, so that noise of variance s has power s in each bin."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)
    return window / np.sqrt((window**2).sum())  # type: ignore[no-any-return]
