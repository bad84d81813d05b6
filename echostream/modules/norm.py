"""BiasNorm, the normalisation of Zipformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BiasNorm(nn.Module):
    """Zipformer's BiasNorm: `x / RMS(x - b) * exp(g)`, `(..., D)` to `(..., D)`.

    Unlike LayerNorm it does not subtract the mean; the learned bias `b` (one per channel) lets a
    vector keep some of its length. `g` is one scalar for all channels. The RMS is clamped from
    below at `min_rms`. Yao et al. 2024, section 3.3 (arXiv:2310.11230).
    """

    def __init__(self, num_channels: int, min_rms: float = 1e-4) -> None:
        super().__init__()
        self.root = num_channels**0.5  # the length of a vector of RMS 1
        self.min_rms = min_rms
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x - self.bias, dim=-1, keepdim=True)
        scale = self.log_scale.exp() * self.root
        return x * (scale / length.clamp(min=self.min_rms * self.root))  # type: ignore[no-any-return]
