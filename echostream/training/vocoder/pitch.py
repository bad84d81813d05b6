"""The pitch of a voice by normalised cross-correlation and a search for the smoothest path.

After Talkin 1995 (RAPT), reduced: one value each 10 ms, also where there is no voice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echostream.models.harmonic_noise import KNOT_SAMPLES
from echostream.streaming.clock import SAMPLE_RATE

_RATE = 8000
_HOP = KNOT_SAMPLES * _RATE // SAMPLE_RATE  # 80 samples, 10 ms
_WINDOW = 4  # hops of the correlation, 40 ms
_OCTAVE_COST = 0.08  # per octave of the lag: its multiples correlate as well
_JUMP_COST = 2.0  # per natural logarithm of the ratio of two neighbours
_SILENCE = 1e-6  # mean power below which nothing is voiced
_UNVOICED, _VOICED = 0.3, 0.7  # correlations between which the voicing rises from 0 to 1


class Pitch(NamedTuple):
    """The pitch at the middle of each stretch of 160 samples."""

    hertz: NDArray[np.float32]  # (H,), interpolated by the search where there is no voice
    voicing: NDArray[np.float32]  # (H,), 0 to 1


def track_pitch(samples: NDArray[np.floating], lowest: float, highest: float) -> Pitch:
    """The pitch between two bounds in Hz: (S,) at 16 kHz -> (S // 160,) values."""
    num_knots = len(samples) // KNOT_SAMPLES
    if num_knots == 0:
        return Pitch(np.empty(0, np.float32), np.empty(0, np.float32))
    halved = samples[: num_knots * KNOT_SAMPLES].reshape(-1, 2).mean(1)
    lags = np.arange(int(_RATE / highest), int(np.ceil(_RATE / lowest)) + 1)
    scores, power = _correlations(halved.astype(np.float64), lags, num_knots)
    path = _best_path(scores - _OCTAVE_COST * np.log2(lags / lags[0]), lags)
    rows = np.arange(num_knots)
    best = scores[rows, path]
    voicing = ((best - _UNVOICED) / (_VOICED - _UNVOICED)).clip(0, 1) * (power > _SILENCE)
    hertz = _RATE / (lags[path] + _peak_offset(scores, path))
    return Pitch(hertz.astype(np.float32), voicing.astype(np.float32))


def _correlations(
    x: NDArray[np.float64], lags: NDArray[np.int64], num_knots: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The normalised correlation of each knot at each lag, `(H, L)`, and the power `(H,)`.

    Both parts of a pair lie on either side of the middle of the window.
    """
    margin = int(lags[-1]) + 1
    padded = np.pad(x, margin)
    kernel = np.ones(_WINDOW + 1)
    kernel[[0, -1]] = 0.5  # half a hop at both ends, so that the window is centred on a hop

    def windowed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = values.reshape(num_knots, _HOP).sum(1)
        return np.convolve(sums, kernel)[_WINDOW // 2 : _WINDOW // 2 + num_knots]

    scores = np.empty((num_knots, len(lags)))
    for column, lag in enumerate(lags):
        first = margin - int(lag) // 2
        a, b = padded[first : first + len(x)], padded[first + lag : first + lag + len(x)]
        energy = windowed(a * a) * windowed(b * b)
        scores[:, column] = windowed(a * b) / np.sqrt(energy + 1e-12)
    return scores, windowed(x * x) / (_WINDOW * _HOP)


def _best_path(scores: NDArray[np.float64], lags: NDArray[np.int64]) -> NDArray[np.int64]:
    """The column of each row on the path of the highest sum of scores less costs of jumps."""
    jump = _JUMP_COST * np.abs(np.log(lags[:, None] / lags[None, :]))  # from, to
    total = scores[0]
    back = np.empty(scores.shape, np.int64)
    for row in range(1, len(scores)):
        options = total[:, None] - jump
        back[row] = options.argmax(0)
        total = options[back[row], np.arange(len(lags))] + scores[row]
    path = np.empty(len(scores), np.int64)
    path[-1] = total.argmax()
    for row in range(len(scores) - 1, 0, -1):
        path[row - 1] = back[row, path[row]]
    return path


def _peak_offset(scores: NDArray[np.float64], path: NDArray[np.int64]) -> NDArray[np.float64]:
    """The part of a lag by which the peak of a parabola lies beside the column."""
    rows = np.arange(len(path))
    middle = path.clip(1, scores.shape[1] - 2)
    left, centre, right = (scores[rows, middle + shift] for shift in (-1, 0, 1))
    curvature = left - 2 * centre + right
    offset = 0.5 * (left - right) / np.where(curvature < -1e-9, curvature, -1e9)
    return np.where(path == middle, offset, 0).clip(-0.5, 0.5)
