"""From one frame rate to half of it and back, inside the U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Downsample(nn.Module):
    """Halves the frame rate: a learned softmax-weighted mean of each pair of frames.

    `(B, T, D)` and its valid mask `(B, T)`, T even, to `(B, T/2, D)`. A pair never crosses a
    group, so there is nothing to remember between chunks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        weights = self.logits.softmax(dim=0)
        x = x.masked_fill(~valid[..., None], 0.0)
        return x[:, 0::2] * weights[0] + x[:, 1::2] * weights[1]  # (B, T, D) -> (B, T/2, D)


def upsample(x: Tensor) -> Tensor:
    """Doubles the frame rate by repetition: `(B, T, D)` to `(B, 2 T, D)`."""
    return x.repeat_interleave(2, dim=1)


def any_of_pairs(valid: Tensor) -> Tensor:
    """The valid mask at half the rate, a frame being valid if one of its two is."""
    return valid[:, 0::2] | valid[:, 1::2]


def all_of_pairs(valid: Tensor) -> Tensor:
    """The valid mask at half the rate, a frame being valid if both of its two are."""
    return valid[:, 0::2] & valid[:, 1::2]
