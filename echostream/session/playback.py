"""A player of the speech of a session: each stretch begins when the one before it has ended."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echostream.session.stream import Output
from echostream.streaming.clock import SAMPLE_RATE


class SpokenWords(NamedTuple):
    """Words and the time at which the speech that was written with them begins, in ms."""

    words: tuple[str, ...]
    delay_ms: float
    start_ms: float


class Playback:
    """Places the samples of outputs on the time of the source, with silence between them.

    An output is played from its `delay_ms` on, or from the end of the speech before it. The words
    of an output are written with their tokens, up to one word before their speech.
    """

    def __init__(self) -> None:
        self._pieces: list[NDArray[np.float32]] = []
        self._length = 0  # samples
        self.words: list[SpokenWords] = []

    def add(self, output: Output) -> None:
        """Plays an output, the next one of its stream."""
        due = round(output.delay_ms * SAMPLE_RATE / 1000)
        start = max(due, self._length)
        if len(output.samples):
            self._append(np.zeros(start - self._length, np.float32))
            self._append(output.samples)
        if output.words:
            self.words.append(
                SpokenWords(output.words, output.delay_ms, 1000 * start / SAMPLE_RATE)
            )

    @property
    def samples(self) -> NDArray[np.float32]:
        """All samples (S,) at 16 kHz from the beginning of the source to the end of the speech."""
        return np.concatenate([np.zeros(0, np.float32), *self._pieces])

    def _append(self, samples: NDArray[np.float32]) -> None:
        self._pieces.append(samples)
        self._length += len(samples)
