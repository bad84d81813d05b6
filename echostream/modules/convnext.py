"""Causal ConvNeXt blocks for units, for rows with different numbers of new frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.modules.conv import ConvState
from echostream.modules.norm import BiasNorm
from echostream.ranges import check_size


class CausalConvNext(nn.Module):
    """A ConvNeXt block, `(B, T, D)` to `(B, T, D)`: depthwise convolution, norm, MLP, residual.

    A frame reads itself and the `kernel_size - 1` frames before it. After Liu et al. 2022
    (arXiv:2201.03545).
    """

    def __init__(self, dim: int, kernel_size: int, ffn_dim: int) -> None:
        super().__init__()
        check_size("dim", dim)
        check_size("kernel_size", kernel_size, 2)
        check_size("ffn_dim", ffn_dim)
        self.dim = dim
        self.num_past = kernel_size - 1
        self.depthwise = nn.Conv1d(dim, dim, kernel_size, groups=dim)
        self.norm = BiasNorm(dim)
        self.linear_in = nn.Linear(dim, ffn_dim)
        self.linear_out = nn.Linear(ffn_dim, dim)

    def init_state(self, batch_size: int) -> ConvState:
        """The state of `batch_size` new streams."""
        return ConvState(self.norm.bias.new_zeros(batch_size, self.num_past, self.dim))

    def forward(self, x: Tensor) -> Tensor:
        return self._block(functional.pad(x, (0, 0, self.num_past, 0)))

    def step(self, x: Tensor, counts: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        """New frames `(B, T, D)`, of which the first `counts (B,)` of each row are valid."""
        frames = torch.cat([state.past, x], dim=1)  # (B, P+T, D)
        return self._block(frames), ConvState(window_at(frames, counts, self.num_past))

    def _block(self, frames: Tensor) -> Tensor:
        y = self.depthwise(frames.transpose(1, 2)).transpose(1, 2)  # (B, P+T, D) -> (B, T, D)
        y = self.linear_out(functional.silu(self.linear_in(self.norm(y))))
        return frames[:, self.num_past :] + y  # type: ignore[no-any-return]


class ConvNextStack(nn.Module):
    """Several `CausalConvNext` blocks, one after the other."""

    def __init__(self, dim: int, kernel_size: int, ffn_dim: int, num_layers: int) -> None:
        super().__init__()
        check_size("num_layers", num_layers)
        self.layers = nn.ModuleList(
            CausalConvNext(dim, kernel_size, ffn_dim) for _ in range(num_layers)
        )

    def init_state(self, batch_size: int) -> tuple[ConvState, ...]:
        """The state of `batch_size` new streams."""
        return tuple(layer.init_state(batch_size) for layer in self._layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self._layers:
            x = layer(x)
        return x

    def step(
        self, x: Tensor, counts: Tensor, state: tuple[ConvState, ...]
    ) -> tuple[Tensor, tuple[ConvState, ...]]:
        """New frames `(B, T, D)`, of which the first `counts (B,)` of each row are valid."""
        states = []
        for layer, layer_state in zip(self._layers, state, strict=True):
            x, layer_state = layer.step(x, counts, layer_state)
            states.append(layer_state)
        return x, tuple(states)

    @property
    def _layers(self) -> Sequence[CausalConvNext]:
        return cast("Sequence[CausalConvNext]", self.layers)


def window_at(frames: Tensor, starts: Tensor, size: int) -> Tensor:
    """`size` frames of each row of `frames (B, T, D)`, from the position `starts (B,)` on."""
    index = starts[:, None] + torch.arange(size, device=frames.device)  # (B, size)
    return frames.gather(1, index[..., None].expand(-1, -1, frames.shape[2]))
