"""Scores that were published elsewhere, as lines in the picture of a sweep."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A score of another system on the same recordings, and its name."""

    name: str
    score: float

    def __str__(self) -> str:
        return f"{self.name}={self.score:g}"


def published(text: str) -> Published:
    """An argument type: `NAME=SCORE`."""
    name, _, score = text.rpartition("=")
    try:
        value = float(score)
    except ValueError:
        value = math.nan
    if not name.strip() or not math.isfinite(value):
        raise argparse.ArgumentTypeError(
            f"must be a name and a number, like ESPnet=10.9, but is {text[:80]!r} instead"
        )
    return Published(name.strip(), value)
