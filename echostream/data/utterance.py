"""One recording with its transcript, its translation and its word times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Utterance:
    """A recording: `samples` (S,) float32 in [-1, 1], mono, at 16 kHz.

    `source` and `target`: transcript and translation; "" if no words are spoken, None if unknown.
    `voice`: the speaker, "" if unknown. `word_ends`: seconds at which each word of `source` ends;
    empty if unknown.
    """

    id: str
    samples: NDArray[np.float32]
    source: str | None
    target: str | None
    voice: str
    word_ends: tuple[float, ...] = ()
