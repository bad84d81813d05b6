"""A waveform in few numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray


def peaks(samples: NDArray[Any], columns: int) -> list[float]:
    """The loudest absolute value of each of `columns` equal parts of a recording (S,)."""
    edges = np.linspace(0, len(samples), columns + 1).astype(int)
    return [float(np.abs(samples[a:b]).max(initial=0)) for a, b in itertools.pairwise(edges)]
