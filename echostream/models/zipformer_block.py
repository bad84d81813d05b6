"""Zipformer block, and a stack of blocks at one frame rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from echostream.modules.attention import AttentionState, CTSelfAttention
from echostream.modules.conv import CausalConvModule, ConvState
from echostream.modules.feed_forward import FeedForward
from echostream.modules.norm import BiasNorm


class BlockState(NamedTuple):
    """The caches of a block, and A frames delayed until their look-ahead has arrived."""

    attention: AttentionState
    conv: ConvState
    waiting: Tensor  # (B, A, 2 D): input of the block and input of the attention


class ZipformerBlock(nn.Module):
    """Zipformer block, `(B, T, D)` to `(B, T, D)`; `step` also maps `(B * T, D)` to `(B * T, D)`.

    Half the feed-forward, CT self-attention, causal convolution module, the other half, BiasNorm
    and a learned bypass. Yao et al. 2024, section 3.2 (arXiv:2310.11230), made causal.

    With a look-ahead of A frames, that of the state, the output of `step` and its valid mask are
    delayed by A frames.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        conv_kernel: int,
        group: int,
        left_context: int,
        max_look_ahead: int = 0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.feed_forward_in = FeedForward(dim, ffn_dim // 2)
        self.attention = CTSelfAttention(dim, num_heads, group, left_context, max_look_ahead)
        self.conv = CausalConvModule(dim, conv_kernel)
        self.feed_forward_out = FeedForward(dim, ffn_dim // 2)
        self.norm = BiasNorm(dim)
        self.bypass = nn.Parameter(torch.full((dim,), 0.5))

    def init_state(self, batch_size: int, look_ahead: int = 0) -> BlockState:
        """The state of `batch_size` new streams with a look-ahead of `look_ahead` groups."""
        waiting = self.bypass.new_zeros(batch_size, look_ahead * self.attention.group, 2 * self.dim)
        return BlockState(
            self.attention.init_state(batch_size, look_ahead),
            self.conv.init_state(batch_size),
            waiting,
        )

    def forward(self, x: Tensor, valid: Tensor, look_ahead: int = 0) -> Tensor:
        h = x + self.feed_forward_in(x)
        h = h + self.attention(h, valid, look_ahead)
        h = h + self.conv(h, valid)
        return self._bypass(x, h)

    def step(
        self, x: Tensor, valid: Tensor, state: BlockState
    ) -> tuple[Tensor, Tensor, BlockState]:
        """One chunk of whole groups."""
        num_frames = valid.shape[1]
        h = x + self.feed_forward_in(x)
        y, attention = self.attention.step(h, valid, state.attention)
        if state.waiting.shape[1]:
            both = torch.cat([x, h], dim=-1).reshape(*valid.shape, -1)
            waiting = torch.cat([state.waiting, both], dim=1)  # (B, A + T, 2 D)
            x, h = waiting[:, :num_frames].reshape(*x.shape[:-1], -1).chunk(2, dim=-1)
            waiting = waiting[:, num_frames:]
            left = self.attention.left_context
            valid = torch.cat([state.attention.valid[:, left:], valid], dim=1)[:, :num_frames]
        else:
            waiting = state.waiting
        h = h + y
        y, conv = self.conv.step(h, valid, state.conv)
        return self._bypass(x, h + y), valid, BlockState(attention, conv, waiting)

    def _bypass(self, x: Tensor, h: Tensor) -> Tensor:
        h = self.norm(h + self.feed_forward_out(h))
        return x + (h - x) * self.bypass


class ZipformerStack(nn.Module):
    """Blocks at one frame rate, `(B, T, D)` to `(B, T, D)`; only the first has look-ahead."""

    def __init__(self, blocks: Iterable[ZipformerBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def init_state(self, batch_size: int, look_ahead: int = 0) -> tuple[BlockState, ...]:
        """The state of `batch_size` new streams with a look-ahead of `look_ahead` groups."""
        return tuple(
            block.init_state(batch_size, look_ahead if i == 0 else 0)
            for i, block in enumerate(self._blocks)
        )

    def forward(self, x: Tensor, valid: Tensor, look_ahead: int = 0) -> Tensor:
        for i, block in enumerate(self._blocks):
            x = block(x, valid, look_ahead if i == 0 else 0)
        return x

    def step(
        self, x: Tensor, valid: Tensor, state: tuple[BlockState, ...]
    ) -> tuple[Tensor, Tensor, tuple[BlockState, ...]]:
        """One chunk of whole groups; returns the frames, their valid mask and the state."""
        states = []
        x = x.flatten(0, 1)  # (B, T, D) -> (B * T, D), for the matrix products
        for block, block_state in zip(self._blocks, state, strict=True):
            x, valid, block_state = block.step(x, valid, block_state)
            states.append(block_state)
        return x.reshape(*valid.shape, -1), valid, tuple(states)

    @property
    def _blocks(self) -> Sequence[ZipformerBlock]:
        return cast("Sequence[ZipformerBlock]", self.blocks)
