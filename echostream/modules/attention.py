"""CT self-attention: causal and truncated on the group clock, with a cache of keys and values."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.modules.masks import ct_mask

# Finite, so that a row in which every key is masked (a frame that is not valid) stays finite too.
MASKED = -1e9


class AttentionState(NamedTuple):
    """What attention must remember of a stream: C cached frames, A frames that wait to ask."""

    key: Tensor  # (B, C, H * Dq), C = left context + A
    value: Tensor  # (B, C, D)
    valid: Tensor  # (B, C) bool; False until C frames have been seen
    query: Tensor  # (B, A, H * Dq), A = look-ahead in frames


class Memory(NamedTuple):
    """Keys that are not frames: the summaries of a memory bank."""

    slots: Tensor  # (B, N, D)
    visible: Tensor  # (B, Tq, N) bool, which query sees which slot


class CTSelfAttention(nn.Module):
    """Multi-head self-attention under the CT-mask, `(B, T, D)` to `(B, T, D)`.

    A frame sees the `left_context` frames before its group, its group, and `look_ahead` groups
    after it (0 to `max_look_ahead`, chosen at run time). Positions are relative only: one learned
    bias a head and distance. `step` with a look-ahead of A frames returns the frames of A frames
    ago, whose future has just become complete.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        group: int,
        left_context: int,
        max_look_ahead: int = 0,
        query_head_dim: int = 32,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(
                f"`embed_dim` must be a multiple of {num_heads} heads, but is {dim} instead."
            )
        if left_context % group:
            raise ValueError(
                f"`left_context` must be a multiple of the group of {group} frames, "
                f"but is {left_context} instead."
            )
        self.dim = dim
        self.num_heads = num_heads
        self.group = group
        self.left_context = left_context
        self.query_dim = num_heads * query_head_dim
        self.scale = query_head_dim**-0.5
        self.max_ahead = group * (max_look_ahead + 1) - 1  # largest distance into the future
        self.project_in = nn.Linear(dim, 2 * self.query_dim + dim)
        self.project_out = nn.Linear(dim, dim)
        self.position_bias = nn.Parameter(
            torch.zeros(num_heads, self.max_ahead + left_context + group)
        )

    def init_state(self, batch_size: int, look_ahead: int = 0) -> AttentionState:
        """The state of `batch_size` new streams that will look `look_ahead` groups ahead."""
        weight = self.project_in.weight
        ahead = look_ahead * self.group
        cached = self.left_context + ahead
        return AttentionState(
            key=weight.new_zeros(batch_size, cached, self.query_dim),
            value=weight.new_zeros(batch_size, cached, self.dim),
            valid=torch.zeros(batch_size, cached, dtype=torch.bool, device=weight.device),
            query=weight.new_zeros(batch_size, ahead, self.query_dim),
        )

    def forward(
        self, x: Tensor, valid: Tensor, look_ahead: int = 0, memory: Memory | None = None
    ) -> Tensor:
        query, key, value = self._project(x)
        frames = range(x.shape[1])
        return self._attend(query, key, value, valid, frames, frames, look_ahead, memory)

    def step(
        self, x: Tensor, valid: Tensor, state: AttentionState, memory: Memory | None = None
    ) -> tuple[Tensor, AttentionState]:
        """One chunk of whole groups; the look-ahead is the one the state was made for."""
        query, key, value = self._project(x)
        query = torch.cat([state.query, query], dim=1)
        key = torch.cat([state.key, key], dim=1)
        value = torch.cat([state.value, value], dim=1)
        valid = torch.cat([state.valid, valid], dim=1)
        num_frames, ahead, cached = x.shape[1], state.query.shape[1], state.key.shape[1]
        y = self._attend(
            query[:, :num_frames],
            key,
            value,
            valid,
            range(-ahead, num_frames - ahead),
            range(-cached, num_frames),
            ahead // self.group,
            memory,
        )
        # Trimmed after use, never before: the first frame of the chunk still sees the oldest key.
        return y, AttentionState(
            key[:, num_frames:], value[:, num_frames:], valid[:, num_frames:], query[:, num_frames:]
        )

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.project_in(x).split(
            [self.query_dim, self.query_dim, self.dim], dim=-1
        )
        return query, key, value

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        valid: Tensor,
        queries: range,
        keys: range,
        look_ahead: int,
        memory: Memory | None,
    ) -> Tensor:
        visible = ct_mask(queries, keys, self.group, self.left_context // self.group, look_ahead)
        visible = visible.to(valid.device) & valid[:, None, :]  # (Tq, Tk), (B, Tk) -> (B, Tq, Tk)
        bias = self._bias(queries, keys)  # (H, Tq, Tk)
        if memory is not None:
            _, memory_key, memory_value = self._project(memory.slots)
            key, value = (
                torch.cat([memory_key, key], dim=1),
                torch.cat([memory_value, value], dim=1),
            )
            visible = torch.cat([memory.visible, visible], dim=2)
            bias = functional.pad(bias, (memory.slots.shape[1], 0))
        scores = (self._heads(query) * self.scale) @ self._heads(key).transpose(2, 3)
        scores = (scores + bias).masked_fill(~visible[:, None], MASKED)  # (B, H, Tq, Tk)
        y = scores.softmax(dim=-1) @ self._heads(value)
        return self.project_out(y.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor) -> Tensor:
        # (B, T, H * d) -> (B, H, T, d)
        return x.reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)

    def _bias(self, queries: range, keys: range) -> Tensor:
        """The bias of every pair `(H, Tq, Tk)`; a distance outside the mask gets a neighbour's."""
        count = len(queries) + len(keys) - 1
        ahead = (
            keys.start - queries.stop + 1 + torch.arange(count, device=self.position_bias.device)
        )
        index = (self.max_ahead - ahead).clamp(0, self.position_bias.shape[1] - 1)
        # Row i of `unfold` reads diagonal i, i+1, ...; the last query comes first.
        diagonals = self.position_bias[:, index].unfold(1, len(keys), 1)  # (H, Tq, Tk)
        return diagonals.flip(1)
