"""Greedy CTC decoding, chunk by chunk: repeats are merged and blanks dropped across chunks.

Merging needs the id of the frame before, which is carried from chunk to chunk: a token whose frames
lie on both sides of a cut is counted once (Graves et al., ICML 2006, the mapping B).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from echostream.config import BLANK_ID

NO_ID = -1  # at frames that are not valid


class Merged(NamedTuple):
    """The tokens that begin in some frames, the positions of these frames, and the last id."""

    tokens: list[int]
    positions: list[int]
    last_id: int


def best_ids(logits: Tensor, valid: Tensor) -> Tensor:
    """Argmax of each frame: logits `(B, T, V)`, valid `(B, T)` to ids `(B, T)`; -1 if not valid."""
    return logits.argmax(-1).masked_fill(~valid, NO_ID)


def merge(ids: Iterable[int], last_id: int = BLANK_ID) -> Merged:
    """CTC tokens of the frames `ids` of one stream, which follow a frame of `last_id`.

    Ids of -1 are passed over.
    """
    tokens, positions = [], []
    for position, index in enumerate(ids):
        if index == NO_ID:
            continue
        if index not in (BLANK_ID, last_id):
            tokens.append(index)
            positions.append(position)
        last_id = index
    return Merged(tokens, positions, last_id)
