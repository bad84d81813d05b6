"""Sound and text made from a seed, where a figure needs some and no recording is long enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echostream.streaming import SAMPLE_RATE

_PIECES_PER_SECOND = 8


class Babble:
    """Tones and noise that change eight times a second, synthesised as they are asked for.

    `next(num_samples)` are the samples that follow, (S,) float32 at 16 kHz; nothing is kept.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def next(self, num_samples: int) -> NDArray[np.float32]:
        """The next samples; each call begins with a new tone."""
        time = np.arange(num_samples) / SAMPLE_RATE
        piece = (time * _PIECES_PER_SECOND).astype(int)
        count = piece.max(initial=0) + 1
        pitch = self._rng.uniform(100, 3000, count)[piece]
        loudness = self._rng.choice([0.0, 0.05, 0.3], count)[piece]
        noise = self._rng.normal(size=num_samples)
        sound = loudness * (np.sin(2 * np.pi * pitch * time) + 0.2 * noise) / 2
        return np.asarray(sound, dtype=np.float32)


def pseudo_text(num_words: int, seed: int) -> list[str]:
    """Sentences of ten words made of syllables, of which a tokenizer can be trained."""
    rng = np.random.default_rng(seed)
    onsets, nuclei, codas = list("bcdfgjklmnprstvz"), list("aeiou"), ["", "", "n", "r", "s"]

    def word() -> str:
        count = rng.integers(1, 5)
        return "".join("".join(map(rng.choice, (onsets, nuclei, codas))) for _ in range(count))

    return [" ".join(word() for _ in range(10)) for _ in range(num_words // 10)]
