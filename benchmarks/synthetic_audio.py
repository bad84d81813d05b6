"""Audio and text made from a seed, of any length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echostream.streaming import SAMPLE_RATE

_PIECES_PER_SECOND = 8


class SyntheticAudio:
    """An endless signal of tones and noise that change eight times a second.

    `next(num_samples)` synthesises the next samples, (S,) float32 at 16 kHz.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def next(self, num_samples: int) -> NDArray[np.float32]:
        """The next samples; each call starts a new tone."""
        time = np.arange(num_samples) / SAMPLE_RATE
        piece = (time * _PIECES_PER_SECOND).astype(int)
        count = piece.max(initial=0) + 1
        pitch = self._rng.uniform(100, 3000, count)[piece]
        loudness = self._rng.choice([0.0, 0.05, 0.3], count)[piece]
        noise = self._rng.normal(size=num_samples)
        sound = loudness * (np.sin(2 * np.pi * pitch * time) + 0.2 * noise) / 2
        return np.asarray(sound, dtype=np.float32)


def pseudo_text(num_words: int, seed: int) -> list[str]:
    """Sentences of ten words of random syllables, for the training of a tokenizer."""
    rng = np.random.default_rng(seed)
    onsets, nuclei, codas = list("bcdfgjklmnprstvz"), list("aeiou"), ["", "", "n", "r", "s"]

    def word() -> str:
        count = rng.integers(1, 5)
        return "".join("".join(map(rng.choice, (onsets, nuclei, codas))) for _ in range(count))

    return [" ".join(word() for _ in range(10)) for _ in range(num_words // 10)]
