"""CT self-attention: causal and truncated on the group clock, with a cache of keys and values."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.modules.masks import ct_mask
from echostream.ranges import check_size

# Finite, so that a row in which every key is masked (a frame that is not valid) stays finite.
MASKED = -1e9


class AttentionState(NamedTuple):
    """C cached keys and values; A queries delayed until their look-ahead has arrived."""

    key: Tensor  # (B, H, C, Dq), C = left context + A
    value: Tensor  # (B, H, C, Dv)
    valid: Tensor  # (B, C) bool; False for slots that are not filled yet
    query: Tensor  # (B, H, A, Dq), A = look-ahead in frames


class MemorySlots(NamedTuple):
    """Extra positions to attend to: the summaries of a memory bank."""

    slots: Tensor  # (B, N, D)
    visible: Tensor  # (B, Tq, N) bool, True where the query may attend to the slot


class MemoryKV(NamedTuple):
    """Keys and values of `MemorySlots`."""

    key: Tensor  # (B, H, N, Dq)
    value: Tensor  # (B, H, N, Dv)
    visible: Tensor  # (B, Tq, N) bool


class CTSelfAttention(nn.Module):
    """Multi-head self-attention under the CT-mask, `(B, T, D)` to `(B, T, D)`.

    A frame attends to the `left_context` frames before its group, to its group, and to `look_ahead`
    groups after it (0 to `max_look_ahead`, chosen at run time). Positions are relative: one learned
    bias per head and distance. With a look-ahead of A frames the output of `step` is delayed by A
    frames.
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
        check_size("num_heads", num_heads)
        check_size("embed_dim", dim)
        check_size("left_context", left_context, 0)
        if dim % num_heads:
            raise ValueError(
                f"`embed_dim` must be a multiple of {num_heads} heads, but is {dim} instead."
            )
        if left_context % group:
            raise ValueError(
                f"`left_context` must be a multiple of the group of {group} frames, "
                f"but is {left_context} instead."
            )
        self.num_heads = num_heads
        self.group = group
        self.left_context = left_context
        self.head_dims = (query_head_dim, query_head_dim, dim // num_heads)  # query, key, value
        self.scale = query_head_dim**-0.5
        self.max_future_distance = group * (max_look_ahead + 1) - 1  # in frames
        # Layout of the output: head by head, each with its query, key and value.
        self.project_in = nn.Linear(dim, num_heads * sum(self.head_dims))
        self.project_out = nn.Linear(dim, dim)
        num_distances = self.max_future_distance + left_context + group
        self.position_bias = nn.Parameter(torch.zeros(num_distances, num_heads))

    def init_state(self, batch_size: int, look_ahead: int = 0) -> AttentionState:
        """The state of `batch_size` new streams with a look-ahead of `look_ahead` groups."""
        weight = self.project_in.weight
        ahead = look_ahead * self.group
        cached = self.left_context + ahead
        query_dim, key_dim, value_dim = self.head_dims
        return AttentionState(
            key=weight.new_zeros(batch_size, self.num_heads, cached, key_dim),
            value=weight.new_zeros(batch_size, self.num_heads, cached, value_dim),
            valid=torch.zeros(batch_size, cached, dtype=torch.bool, device=weight.device),
            query=weight.new_zeros(batch_size, self.num_heads, ahead, query_dim),
        )

    def forward(
        self, x: Tensor, valid: Tensor, look_ahead: int = 0, memory: MemorySlots | None = None
    ) -> Tensor:
        query, key, value, slots = self._project(x, valid.shape, memory)
        y = self._attend(query, key, value, valid, (0, 0), look_ahead, slots)
        return self.project_out(y.reshape(x.shape))  # type: ignore[no-any-return]

    def step(
        self, x: Tensor, valid: Tensor, state: AttentionState, memory: MemorySlots | None = None
    ) -> tuple[Tensor, AttentionState]:
        """One chunk of whole groups; the look-ahead is that of the state.

        Without a memory, `x` may also have the shape `(B * T, D)`; the output then has it, too.
        """
        query, key, value, slots = self._project(x, valid.shape, memory)
        num_frames, ahead, cached = valid.shape[1], state.query.shape[2], state.key.shape[2]
        query = torch.cat([state.query, query], dim=2)
        key = torch.cat([state.key, key], dim=2)
        value = torch.cat([state.value, value], dim=2)
        valid = torch.cat([state.valid, valid], dim=1)
        y = self._attend(
            query[:, :, :num_frames],
            key,
            value,
            valid,
            (-ahead, -cached),
            ahead // self.group,
            slots,
        )
        # Trimmed after use: the first frame of the chunk attends to the oldest key.
        return self.project_out(y.reshape(x.shape)), AttentionState(
            key[:, :, num_frames:],
            value[:, :, num_frames:],
            valid[:, num_frames:],
            query[:, :, num_frames:],
        )

    def _project(
        self, x: Tensor, shape: torch.Size, memory: MemorySlots | None
    ) -> tuple[Tensor, Tensor, Tensor, MemoryKV | None]:
        """Query, key and value of each frame `(B, H, T, d)`, and key and value of the memory."""
        if memory is not None:
            x = torch.cat([memory.slots, x], dim=1)  # one product reads the weights once
            shape = x.shape[:2]
        # (B, T, H * d) or (B * T, H * d) -> (B, H, T, d)
        heads = self.project_in(x).reshape(*shape, self.num_heads, -1).transpose(1, 2)
        query, key, value = heads.split(self.head_dims, dim=-1)
        if memory is None:
            return query, key, value, None
        size = memory.slots.shape[1]
        slots = MemoryKV(key[:, :, :size], value[:, :, :size], memory.visible)
        return query[:, :, size:], key[:, :, size:], value[:, :, size:], slots

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        valid: Tensor,
        starts: tuple[int, int],
        look_ahead: int,
        slots: MemoryKV | None,
    ) -> Tensor:
        """Attention `(B, Tq, H, Dv)`; `starts` are the positions of the first query and key."""
        queries = starts[0] + torch.arange(query.shape[2], device=valid.device)
        keys = starts[1] + torch.arange(key.shape[2], device=valid.device)
        visible = ct_mask(queries, keys, self.group, self.left_context // self.group, look_ahead)
        visible = visible & valid[:, None, :]  # (Tq, Tk), (B, Tk) -> (B, Tq, Tk)
        bias = self._bias(queries, keys)  # (H, Tq, Tk)
        if slots is not None:
            key = torch.cat([slots.key, key], dim=2)
            value = torch.cat([slots.value, value], dim=2)
            visible = torch.cat([slots.visible, visible], dim=2)
            bias = functional.pad(bias, (slots.key.shape[2], 0))
        scores = (query * self.scale) @ key.transpose(2, 3) + bias  # (B, H, Tq, Tk)
        scores = torch.where(visible[:, None], scores, MASKED)
        return (scores.softmax(dim=-1) @ value).transpose(1, 2)

    def _bias(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The bias of every pair `(H, Tq, Tk)`; distances outside the mask are clamped."""
        ahead = keys[None, :] - queries[:, None]
        index = (self.max_future_distance - ahead).clamp(0, self.position_bias.shape[0] - 1)
        return functional.embedding(index, self.position_bias).permute(2, 0, 1)
