"""The output of a vocoder."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Waveform(NamedTuple):
    """Samples of a batch of streams, of which each stream may have another number."""

    samples: Tensor  # (B, S) from -1 to 1; zeros from `num_samples` on
    num_samples: Tensor  # (B,) int64
