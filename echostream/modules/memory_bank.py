"""Emformer memory bank: M summaries per stream of the audio before the left context."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from echostream.modules.attention import AttentionState, CTSelfAttention, MemorySlots
from echostream.modules.norm import BiasNorm
from echostream.modules.summaries import SummaryState, init_summaries, summarise
from echostream.ranges import check_size


class MemoryBankState(NamedTuple):
    """The bank, and the running sum of the memory segment that is not complete yet."""

    bank: Tensor  # (B, M, D) summaries, the oldest first
    filled: Tensor  # (B, M) bool
    partial: Tensor  # (B, D) sum of the frames of the open segment
    num_groups: Tensor  # (B,) groups in the open segment, 0 to 7
    attention: AttentionState


class MemoryBank(nn.Module):
    """Attention at 25 Hz over M segment summaries, the left context and the current group.

    `(B, T, D)` to `(B, T, D)`. A segment is 8 groups; its summary is the mean of its frames,
    projected, and is visible to the groups after the segment. (The missing frames of a short last
    group count as zeros, which affects only `carry_over`.) The bank is part of the state; slots
    that are not filled yet are masked. Shi et al. 2021 (arXiv:2010.10759).
    """

    def __init__(
        self, dim: int, num_heads: int, memory_size: int, group: int, left_context: int
    ) -> None:
        super().__init__()
        check_size("memory_size", memory_size, 0)
        self.dim = dim
        self.memory_size = memory_size
        self.group = group
        self.summarise = nn.Linear(dim, dim)
        self.attention = CTSelfAttention(dim, num_heads, group, left_context)
        self.norm = BiasNorm(dim)

    def init_state(self, batch_size: int) -> MemoryBankState:
        """The state of `batch_size` new streams: an empty bank."""
        return MemoryBankState(
            *init_summaries(batch_size, self.memory_size, self.summarise.weight),
            self.attention.init_state(batch_size),
        )

    def forward(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """The output and the bank after the last frame, `carry_over (B, M, D)`."""
        state = self.init_state(x.shape[0])
        memory, bank = self._update(x, valid, state)
        y = self.norm(x + self.attention(x, valid, memory=memory))
        return y, bank.bank

    def step(
        self, x: Tensor, valid: Tensor, state: MemoryBankState
    ) -> tuple[Tensor, MemoryBankState]:
        """One chunk of whole groups."""
        memory, bank = self._update(x, valid, state)
        y, attention = self.attention.step(x, valid, state.attention, memory)
        return self.norm(x + y), bank._replace(attention=attention)

    def _update(
        self, x: Tensor, valid: Tensor, state: MemoryBankState
    ) -> tuple[MemorySlots, MemoryBankState]:
        """The slots that each frame may attend to, and the bank after the last frame."""
        slots, summaries = summarise(self.summarise, x, valid, self.group, SummaryState(*state[:4]))
        visible = slots.visible(slots.before, self.memory_size)  # (B, G, M+N)
        memory = MemorySlots(slots.slots, visible.repeat_interleave(self.group, dim=1))
        return memory, MemoryBankState(*summaries, state.attention)
