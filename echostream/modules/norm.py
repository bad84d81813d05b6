"""BiasNorm, the normalisation of Zipformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BiasNorm(nn.Module):
    """Zipformer's BiasNorm: `x / RMS(x - b) * exp(g)`, `(..., D)` to `(..., D)`.

    Unlike LayerNorm it removes no mean, so that a vector keeps its length through the learned
    bias `b` (one a channel); `g` is one scalar for all channels. Yao et al. 2024, section 3.3
    (arXiv:2310.11230).
    """

    def __init__(self, num_channels: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        mean_square = (x - self.bias).square().mean(dim=-1, keepdim=True)
        return x * ((mean_square + self.eps).rsqrt() * self.log_scale.exp())
