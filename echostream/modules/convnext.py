"""A causal ConvNeXt block with a cache of past frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.modules.conv import ConvState


def frames_from(x: Tensor, start: Tensor, length: int) -> Tensor:
    """`length` frames of each row, from its own index on: (B, T, ...) and (B,) -> (B, length, ...).

    A gather, so that rows of a batch may have different numbers of valid frames.
    """
    index = start[:, None] + torch.arange(length, device=x.device)  # (B, length)
    index = index.reshape(*index.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])
    return x.gather(1, index)


class ConvNeXtBlock(nn.Module):
    """Causal ConvNeXt block over frames, `(B, T, D)` to `(B, T, D)`.

    Depthwise convolution over the last `kernel_size` frames, LayerNorm, linear to `ffn_dim`, GELU,
    linear back, a learned scale of each channel, and the residual. Liu et al. 2022
    (arXiv:2201.03545), in one dimension as Siuzdak 2023 (arXiv:2306.00814).
    """

    def __init__(self, dim: int, ffn_dim: int, kernel_size: int) -> None:
        super().__init__()
        self.dim = dim
        self.kernel_size = kernel_size
        self.depthwise = nn.Conv1d(dim, dim, kernel_size, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.linear_in = nn.Linear(dim, ffn_dim)
        self.linear_out = nn.Linear(ffn_dim, dim)
        self.scale = nn.Parameter(torch.full((dim,), 0.3))

    def init_state(self, batch_size: int) -> ConvState:
        """The state of `batch_size` new streams: zeros before the first frame."""
        return ConvState(self.scale.new_zeros(batch_size, self.kernel_size - 1, self.dim))

    def step(self, x: Tensor, num_valid: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        """One chunk of any length; row b advances by its first `num_valid[b]` frames."""
        frames = torch.cat([state.past, x], dim=1)  # (B, K-1+T, D)
        past = frames_from(frames, num_valid, self.kernel_size - 1)
        y = self.depthwise(frames.transpose(1, 2)).transpose(1, 2)  # (B, K-1+T, D) -> (B, T, D)
        y = self.linear_out(functional.gelu(self.linear_in(self.norm(y))))
        return x + self.scale * y, ConvState(past)
