"""A player of the speech of a session: each stretch begins when the one before it has ended."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echostream.session.stream import Output
from echostream.streaming.clock import SAMPLE_RATE

FADE = SAMPLE_RATE // 200  # 5 ms
_BACKWARDS = slice(None, None, -1)


class WrittenWords(NamedTuple):
    """Words and the time at which they are written, in ms."""

    words: tuple[str, ...]
    delay_ms: float


class Playback:
    """Places the samples of outputs on the time of the source, with silence between them.

    An output is played from its `delay_ms` on, or from the end of the speech before it. When the
    speech runs dry it fades out over 5 ms, and in again when it goes on, so that there is no click.
    """

    def __init__(self) -> None:
        self._pieces: list[NDArray[np.float32]] = []
        self._length = 0  # samples
        self.words: list[WrittenWords] = []

    def add(self, output: Output) -> None:
        """Plays an output, the next one of its stream."""
        start = max(round(output.delay_ms * SAMPLE_RATE / 1000), self._length)
        if len(samples := output.samples):
            if gap := start - self._length:
                if self._pieces:
                    self._pieces[-1] = _faded(self._pieces[-1], _BACKWARDS)
                self._append(np.zeros(gap, np.float32))
                samples = _faded(samples, slice(None))
            self._append(samples)
        if output.words:
            self.words.append(WrittenWords(output.words, output.delay_ms))

    @property
    def samples(self) -> NDArray[np.float32]:
        """All samples (S,) at 16 kHz from the beginning of the source to the end of the speech."""
        return np.concatenate([np.zeros(0, np.float32), *self._pieces])

    def _append(self, samples: NDArray[np.float32]) -> None:
        self._pieces.append(samples)
        self._length += len(samples)


def _faded(samples: NDArray[np.float32], order: slice) -> NDArray[np.float32]:
    """A copy that fades in; with the order turned round, out."""
    faded: NDArray[np.float32] = samples[order].copy()
    size = min(FADE, len(faded))
    faded[:size] *= np.linspace(0, 1, size, endpoint=False, dtype=np.float32)
    return faded[order]
