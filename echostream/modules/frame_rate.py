"""Downsampling and upsampling by 2 inside the U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Downsample(nn.Module):
    """Halves the frame rate: a learned softmax-weighted mean of each pair of frames.

    `(B, T, D)` and its valid mask `(B, T)`, T even, to `(B, T/2, D)`. A pair never crosses the
    boundary of a group, so no state is needed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        weights = self.logits.softmax(dim=0)
        first, second = _pairs(torch.where(valid[..., None], x, 0.0))  # (B, T/2, D) each
        return first * weights[0] + second * weights[1]


def upsample(x: Tensor) -> Tensor:
    """Doubles the frame rate by repetition: `(B, T, D)` to `(B, 2 T, D)`."""
    return x.repeat_interleave(2, dim=1)


def any_of_pairs(valid: Tensor) -> Tensor:
    """The valid mask at half the rate: valid where at least one frame of the pair is."""
    first, second = _pairs(valid)
    return first | second


def all_of_pairs(valid: Tensor) -> Tensor:
    """The valid mask at half the rate: valid where both frames of the pair are."""
    first, second = _pairs(valid)
    return first & second


def _pairs(x: Tensor) -> tuple[Tensor, ...]:
    """The first and the second frame of each pair."""
    return x.reshape(x.shape[0], x.shape[1] // 2, 2, *x.shape[2:]).unbind(2)
