"""The features of Whisper (Radford et al. 2022, arXiv 2212.04356): log-mel over a fixed window.

The filters are Slaney's, from 0 to 8 kHz; frames are 25 ms every 10 ms, centred and reflected at
both ends.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
HOP = 160
_FFT = 400
_RANGE = 8.0  # of the logarithm to base 10, below the loudest value
_LINEAR_HZ, _LINEAR_MELS = 1000.0, 15.0  # where Slaney's scale turns from linear to logarithmic
_LOG_STEP = np.log(6.4) / 27


def log_mel(samples: NDArray[np.float32], num_frames: int, num_mels: int) -> NDArray[np.float32]:
    """Samples (S,) at 16 kHz, padded with zeros or cut to 160 `num_frames` -> (num_mels, T)."""
    padded = np.zeros(num_frames * HOP, np.float32)
    kept = samples[: len(padded)]
    padded[: len(kept)] = kept
    reflected = np.pad(padded, _FFT // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(reflected, _FFT)[::HOP][:num_frames]
    hann = np.hanning(_FFT + 1)[:-1]  # periodic
    power = np.abs(np.fft.rfft(windows * hann)) ** 2  # (T, 201)
    levels = np.log10(np.maximum(power @ mel_filters(num_mels).T, 1e-10))  # (T, M)
    levels = np.maximum(levels, levels.max() - _RANGE)
    return np.ascontiguousarray(((levels + 4.0) / 4.0).T, np.float32)  # (T, M) -> (M, T)


@lru_cache
def mel_filters(num_mels: int) -> NDArray[np.float64]:
    """Triangles of equal area (num_mels, 201) over the frequencies of the Fourier transform."""
    frequencies = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)
    edges = _hz(np.linspace(0, _mels(SAMPLE_RATE / 2), num_mels + 2))
    widths = np.diff(edges)[:, None]
    slopes = edges[:, None] - frequencies
    rising, falling = -slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    areas: NDArray[np.float64] = triangles * (2 / (edges[2:] - edges[:-2]))[:, None]
    return areas


def _mels(hz: float) -> float:
    if hz < _LINEAR_HZ:
        return hz * _LINEAR_MELS / _LINEAR_HZ
    return float(_LINEAR_MELS + np.log(hz / _LINEAR_HZ) / _LOG_STEP)


def _hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mels * _LINEAR_HZ / _LINEAR_MELS
    curved = _LINEAR_HZ * np.exp(_LOG_STEP * (mels - _LINEAR_MELS))
    return np.where(mels < _LINEAR_MELS, linear, curved)
