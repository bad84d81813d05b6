"""When to READ and when to WRITE: StreamSpeech's g(i), on collapsed CTC tokens.

The counts are of CTC tokens, not of frames. The policy is a pure function of the two counts and a
state of three numbers. It differs from the published agent in one point: the reference counts are
updated on a WRITE only, not on a READ, so that growth without a WRITE is not lost.

Source: StreamSpeech, Zhang et al., ACL 2024, section 3.2 (https://arxiv.org/abs/2406.03049).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from echostream.session_config import SessionConfig


class Counts(NamedTuple):
    """CTC tokens of both heads since the stream began."""

    num_asr: int
    num_st: int
    source_finished: bool = False


class PolicyState(NamedTuple):
    """The counts at the last WRITE, and how many target tokens have been written."""

    num_asr: int = 0
    num_st: int = 0
    num_written: int = 0


@dataclass(frozen=True)
class Read:
    """Wait for more source."""


@dataclass(frozen=True)
class Write:
    """Write the next `num_tokens` target tokens; zero only when the source is finished."""

    num_tokens: int


Action = Read | Write


def decide(counts: Counts, state: PolicyState, config: SessionConfig) -> tuple[Action, PolicyState]:
    """READ or WRITE, and the state for the next call.

    READ until both counts have grown by `stride_n` since the last WRITE, `num_st - lagging_k1 >= 1`
    and `num_asr - lagging_k2 >= 1`; then WRITE up to the greatest multiple of `stride_n` in
    `num_st - lagging_k1`, in total. When the source is finished, WRITE all remaining tokens.
    Written tokens are never revised. Raises `ValueError` when a count has shrunk.
    """
    if counts.num_asr < state.num_asr or counts.num_st < max(state.num_st, state.num_written):
        raise ValueError(f"`counts` must never shrink, but are {counts} after {state}.")
    if counts.source_finished:
        total = counts.num_st
    else:
        grown = min(counts.num_asr - state.num_asr, counts.num_st - state.num_st)
        waited = min(counts.num_st - config.lagging_k1, counts.num_asr - config.lagging_k2)
        if grown < config.stride_n or waited < 1:
            return Read(), state
        total = (counts.num_st - config.lagging_k1) // config.stride_n * config.stride_n
        if total <= state.num_written:
            return Read(), state
    written = PolicyState(counts.num_asr, counts.num_st, total)
    return Write(total - state.num_written), written
