"""Segment summaries: M vectors per stream for the frames before a bounded context."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

SEGMENT_GROUPS = 8  # groups in a memory segment: 1.28 s


class SummaryState(NamedTuple):
    """The summaries, and the running sum of the memory segment that is not complete yet."""

    bank: Tensor  # (B, M, D) summaries, the oldest first
    filled: Tensor  # (B, M) bool
    partial: Tensor  # (B, D) sum of the frames of the open segment
    num_groups: Tensor  # (B,) groups in the open segment, 0 to 7


class SummarySlots(NamedTuple):
    """The M summaries before a chunk and the N of the chunk itself, and when each is visible."""

    slots: Tensor  # (B, M+N, D)
    filled: Tensor  # (B, M+N) bool
    before: Tensor  # (B, G) number of segments of this chunk complete before each group
    after: Tensor  # (B, G) and after each group

    def visible(self, num_complete: Tensor, memory_size: int) -> Tensor:
        """`(B, K, M+N)` bool: the last M summaries when `num_complete (B, K)` are complete."""
        # When s segments of this chunk are complete, the last M summaries are slots s to s+M-1.
        age = torch.arange(self.slots.shape[1], device=self.slots.device) - num_complete[..., None]
        return (age >= 0) & (age < memory_size) & self.filled[:, None, :]


def init_summaries(batch_size: int, memory_size: int, like: Tensor) -> SummaryState:
    """An empty bank; width, dtype and device are those of `like (..., D)`."""
    return SummaryState(
        bank=like.new_zeros(batch_size, memory_size, like.shape[-1]),
        filled=torch.zeros(batch_size, memory_size, dtype=torch.bool, device=like.device),
        partial=like.new_zeros(batch_size, like.shape[-1]),
        num_groups=torch.zeros(batch_size, dtype=torch.int64, device=like.device),
    )


def summarise(
    project: Callable[[Tensor], Tensor], x: Tensor, valid: Tensor, group: int, state: SummaryState
) -> tuple[SummarySlots, SummaryState]:
    """The summaries of one chunk of whole groups `(B, group * G, D)`, and the state after it.

    A segment is 8 groups; its summary is `project` of the mean of its frames. The missing frames of
    a short last group count as zeros. Streams of one batch may be at different positions in their
    segments: positions are counted in groups that hold a valid frame.
    """
    present = valid.reshape(valid.shape[0], -1, group).any(2)  # (B, G)
    position = state.num_groups[:, None] + present.cumsum(1)
    before = (position - 1).clamp(min=0).div(SEGMENT_GROUPS, rounding_mode="floor")  # (B, G)
    segment = before.repeat_interleave(group, dim=1)  # (B, T)
    num_segments = (SEGMENT_GROUPS - 1 + present.shape[1]) // SEGMENT_GROUPS + 1

    segments = torch.arange(num_segments, device=x.device)
    member = (segment[..., None] == segments) & valid[..., None]  # (B, T, N)
    sums = member.to(x.dtype).transpose(1, 2) @ x.masked_fill(~valid[..., None], 0.0)
    sums = sums + functional.pad(state.partial[:, None], (0, 0, 0, num_segments - 1))  # (B, N, D)
    counted = state.num_groups + present.sum(1)
    num_complete = counted.div(SEGMENT_GROUPS, rounding_mode="floor")  # (B,)
    new = project(sums / (SEGMENT_GROUPS * group))
    complete = segments < num_complete[:, None]  # (B, N)

    memory_size, dim = state.bank.shape[1:]
    slots = torch.cat([state.bank, new], dim=1)  # (B, M+N, D)
    filled = torch.cat([state.filled, complete], dim=1)
    kept = num_complete[:, None] + torch.arange(memory_size, device=x.device)  # (B, M)
    still_open = num_complete[:, None, None].expand(-1, 1, dim)
    after = position.div(SEGMENT_GROUPS, rounding_mode="floor")
    return SummarySlots(slots, filled, before, after), SummaryState(
        bank=slots.gather(1, kept[..., None].expand(-1, -1, dim)),
        filled=filled.gather(1, kept),
        partial=sums.gather(1, still_open)[:, 0],
        num_groups=counted - SEGMENT_GROUPS * num_complete,
    )
