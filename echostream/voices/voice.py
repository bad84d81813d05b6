"""The interface of a voice: a text to its samples and word times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class VoiceError(ValueError):
    """A voice that cannot be used; the message names the file, the package or the voice."""


@dataclass(frozen=True)
class Speech:
    """Synthesised speech: `samples` (S,) float32 in [-1, 1] at `sample_rate` Hz.

    `word_ends`: seconds at which each whitespace word of the text ends, or empty if they are not
    known.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    word_ends: tuple[float, ...]


class Voice(Protocol):
    """A voice, whose speech is a function of the text and the speed alone."""

    def speak(self, text: str, speed: float = 1.0) -> Speech:
        """Speech for a text of at least one word; at `speed` 1.25 it takes 0.8 of the time.

        Without any word that can be spoken, like "...", it is silence or has no samples.
        """
