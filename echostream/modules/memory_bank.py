"""Emformer memory bank: what lies before the left context, in M summaries a stream."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.modules.attention import AttentionState, CTSelfAttention, Memory
from echostream.modules.norm import BiasNorm

SEGMENT_GROUPS = 8  # groups in a memory segment: 1.28 s


class MemoryBankState(NamedTuple):
    """The bank of a stream, and the segment that is not complete yet."""

    bank: Tensor  # (B, M, D) summaries, the oldest first
    filled: Tensor  # (B, M) bool
    partial: Tensor  # (B, D) sum of the frames of the open segment
    num_groups: Tensor  # (B,) groups in the open segment, 0 to 7
    attention: AttentionState


class MemoryBank(nn.Module):
    """Attention at 25 Hz over M segment summaries, the left context and the current group.

    `(B, T, D)` to `(B, T, D)`. A segment is 8 groups; its summary is the mean of its frames,
    projected, and is seen by the groups after the segment. (Frames that a short last group lacks
    count as zeros; only `carry_over` tells.) The bank belongs to the stream, never to the module;
    slots not filled yet are masked. Shi et al. 2021 (arXiv:2010.10759).
    """

    def __init__(
        self, dim: int, num_heads: int, memory_size: int, group: int, left_context: int
    ) -> None:
        super().__init__()
        self.dim = dim
        self.memory_size = memory_size
        self.group = group
        self.summarise = nn.Linear(dim, dim)
        self.attention = CTSelfAttention(dim, num_heads, group, left_context)
        self.norm = BiasNorm(dim)

    def init_state(self, batch_size: int) -> MemoryBankState:
        """The state of `batch_size` new streams: an empty bank."""
        weight = self.summarise.weight
        return MemoryBankState(
            bank=weight.new_zeros(batch_size, self.memory_size, self.dim),
            filled=torch.zeros(
                batch_size, self.memory_size, dtype=torch.bool, device=weight.device
            ),
            partial=weight.new_zeros(batch_size, self.dim),
            num_groups=torch.zeros(batch_size, dtype=torch.int64, device=weight.device),
            attention=self.attention.init_state(batch_size),
        )

    def forward(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """The output and the bank after the last frame, `carry_over (B, M, D)`."""
        state = self.init_state(x.shape[0])
        memory, bank = self._remember(x, valid, state)
        y = self.norm(x + self.attention(x, valid, memory=memory))
        return y, bank.bank

    def step(
        self, x: Tensor, valid: Tensor, state: MemoryBankState
    ) -> tuple[Tensor, MemoryBankState]:
        """One chunk of whole groups."""
        memory, bank = self._remember(x, valid, state)
        y, attention = self.attention.step(x, valid, state.attention, memory)
        return self.norm(x + y), bank._replace(attention=attention)

    def _remember(
        self, x: Tensor, valid: Tensor, state: MemoryBankState
    ) -> tuple[Memory, MemoryBankState]:
        """What each frame may see of the bank, and the bank after the last frame."""
        # Streams of one batch may be at different places in their segments, so places are counted
        # from the open segment of each stream, in groups that hold a valid frame.
        present = valid.reshape(len(valid), -1, self.group).any(2)  # (B, G)
        place = state.num_groups[:, None] + present.cumsum(1) - 1
        segment = place.clamp(min=0).div(SEGMENT_GROUPS, rounding_mode="floor")  # (B, G)
        segment = segment.repeat_interleave(self.group, dim=1)  # (B, T)
        num_segments = (SEGMENT_GROUPS - 1 + present.shape[1]) // SEGMENT_GROUPS + 1

        member = functional.one_hot(segment, num_segments) * valid[..., None]  # (B, T, N)
        sums = member.to(x.dtype).transpose(1, 2) @ x.masked_fill(~valid[..., None], 0.0)
        sums = sums + functional.pad(
            state.partial[:, None], (0, 0, 0, num_segments - 1)
        )  # (B, N, D)
        counted = state.num_groups + present.sum(1)
        num_complete = counted.div(SEGMENT_GROUPS, rounding_mode="floor")  # (B,)
        new = self.summarise(sums / (SEGMENT_GROUPS * self.group))
        complete = torch.arange(num_segments, device=x.device) < num_complete[:, None]  # (B, N)

        slots = torch.cat([state.bank, new], dim=1)  # (B, M+N, D)
        filled = torch.cat([state.filled, complete], dim=1)
        # Segment s of this chunk comes right after slot M+s-1: it sees the M slots from s on.
        age = torch.arange(slots.shape[1], device=x.device) - segment[..., None]  # (B, T, M+N)
        visible = (age >= 0) & (age < self.memory_size) & filled[:, None, :]

        kept = num_complete[:, None] + torch.arange(self.memory_size, device=x.device)  # (B, M)
        still_open = num_complete[:, None, None].expand(-1, 1, self.dim)
        bank = MemoryBankState(
            bank=slots.gather(1, kept[..., None].expand(-1, -1, self.dim)),
            filled=filled.gather(1, kept),
            partial=sums.gather(1, still_open)[:, 0],
            num_groups=counted - SEGMENT_GROUPS * num_complete,
            attention=state.attention,
        )
        return Memory(slots, visible), bank
