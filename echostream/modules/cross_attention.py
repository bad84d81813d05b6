"""Cross-attention from target tokens to a bounded window of encoder frames and their summaries."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from echostream.modules.attention import MASKED
from echostream.ranges import check_size


class EncoderContext(NamedTuple):
    """S frames and summaries that U target tokens may attend to; both keys and values."""

    x: Tensor  # (B, S, D)
    age: Tensor  # (B, U, S) int64, distance in frames from the newest visible one; W for a summary
    visible: Tensor  # (B, U, S) bool


class CrossAttention(nn.Module):
    """Multi-head attention of tokens to frames, `(B, U, D)` to `(B, U, D)`.

    Positions are relative: one learned bias per head and age of a frame, 0 to `window - 1`, and one
    for all summaries. The key and value projections are applied to the query and to the result
    instead (attention is linear in both), so that a stream caches its frames once for all layers
    and no token projects the whole window again.
    """

    def __init__(self, dim: int, num_heads: int, window: int, query_head_dim: int = 32) -> None:
        super().__init__()
        check_size("num_heads", num_heads)
        check_size("embed_dim", dim)
        check_size("window", window)
        if dim % num_heads:
            raise ValueError(
                f"`embed_dim` must be a multiple of {num_heads} heads, but is {dim} instead."
            )
        self.num_heads = num_heads
        self.scale = query_head_dim**-0.5
        self.query = nn.Linear(dim, num_heads * query_head_dim)
        # No bias: the softmax is invariant to one in the keys, and one in the values would only add
        # to that of `project_out`.
        self.key = nn.Linear(dim, num_heads * query_head_dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.project_out = nn.Linear(dim, dim)
        self.position_bias = nn.Parameter(torch.zeros(num_heads, window + 1))

    def forward(self, x: Tensor, source: EncoderContext) -> Tensor:
        return self.attend(x, source)[0]

    def attend(self, x: Tensor, source: EncoderContext) -> tuple[Tensor, Tensor]:
        """What `forward` gives, and the weights of all frames and summaries `(B, H, U, S)`."""
        heads, dim = self.num_heads, x.shape[-1]
        query = self.query(x).reshape(*x.shape[:2], heads, -1).transpose(1, 2)  # (B, H, U, Dq)
        query = query @ self.key.weight.reshape(heads, -1, dim)  # (H, Dq, D) -> (B, H, U, D)
        scores = (query * self.scale) @ source.x[:, None].transpose(2, 3)  # (B, H, U, S)
        scores = scores + self.position_bias[:, source.age].transpose(0, 1)
        weights = scores.masked_fill(~source.visible[:, None], MASKED).softmax(dim=-1)
        context = weights @ source.x[:, None]  # (B, H, U, S) -> (B, H, U, D)
        value = context @ self.value.weight.reshape(heads, -1, dim).transpose(1, 2)  # (B, H, U, Dv)
        return self.project_out(value.transpose(1, 2).flatten(2)), weights
