"""The counters of a stream, and how a group of the outputs of both CTC heads changes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from echostream.models import BLANK_ID, CtcOutput
from echostream.models.ctc_decode import best_ids, merge
from echostream.streaming import GROUP_OUTPUTS


class TokenCounts(NamedTuple):
    """The counters of a stream, one row of `DecodingState.counts`."""

    asr_id: int = BLANK_ID  # of the last frame of each head
    st_id: int = BLANK_ID
    num_asr: int = 0  # tokens found
    num_st: int = 0
    gate_asr: int = 0  # the state of the CTC policy
    gate_st: int = 0
    num_allowed: int = 0
    num_decoded: int = 0  # tokens of the text decoder since the last pause
    num_before: int = 0  # tokens of the ST head until the last pause
    num_asr_before: int = 0  # tokens of the ASR head until the last pause
    num_silent: int = 0  # groups since the last one in which a head found a token
    num_source_words: int = 0  # since the last pause; these two are counted by wait-k alone
    num_target_words: int = 0


class Ids(NamedTuple):
    """The most likely id of each frame of a stream, -1 for a frame that is not valid."""

    asr: list[int]
    st: list[int]


class Found(NamedTuple):
    """The tokens that both heads have found in a group."""

    source: list[int]
    target: list[int]


def ids_of(output: CtcOutput) -> list[Ids]:
    """The ids of each stream, with one transfer from the device for all."""
    heads = (output.asr_logits, output.st_logits)
    asr, st = torch.stack([best_ids(head, output.valid) for head in heads]).tolist()
    return [Ids(*ids) for ids in zip(asr, st, strict=True)]


def num_groups_of(output: CtcOutput) -> int:
    """The number of groups of an output, the last of which may be short."""
    return -(-output.valid.shape[1] // GROUP_OUTPUTS)


def count(ids: Ids, group: int, counts: TokenCounts) -> tuple[Found, TokenCounts]:
    """The tokens of both heads in one group of a stream."""
    frames = slice(group * GROUP_OUTPUTS, (group + 1) * GROUP_OUTPUTS)
    source, _, asr_id = merge(ids.asr[frames], counts.asr_id)
    target, _, st_id = merge(ids.st[frames], counts.st_id)
    return Found(source, target), counts._replace(
        asr_id=asr_id,
        st_id=st_id,
        num_asr=counts.num_asr + len(source),
        num_st=counts.num_st + len(target),
        num_silent=0 if source or target else counts.num_silent + 1,
    )


def new_utterance(counts: TokenCounts) -> TokenCounts:
    """The counters after a pause has ended an utterance of the text decoder."""
    return counts._replace(
        num_decoded=0,
        num_before=counts.num_st,
        num_asr_before=counts.num_asr,
        num_source_words=0,
        num_target_words=0,
    )


def as_counts(counts: Tensor) -> list[TokenCounts]:
    """The counters of each stream, from the tensor of a state."""
    return [TokenCounts(*row) for row in counts.tolist()]


def as_tensor(counts: Sequence[TokenCounts]) -> Tensor:
    """The counters as a tensor `(B, number of counters)` int64, on the CPU."""
    return torch.tensor(counts, dtype=torch.int64)
