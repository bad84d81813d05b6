"""Greedy CTC decoding, chunk by chunk: repeats are merged and blanks dropped across chunks.

The merge rule needs the id of the frame before, so that id is the state: a token whose frames lie
on both sides of a cut is counted once (Graves et al., ICML 2006, the mapping B).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from echostream.config import BLANK_ID

NO_ID = -1  # of a frame that is not valid; no token has it


class CollapseState(NamedTuple):
    """What the merge must remember of each stream."""

    last_id: Tensor  # (B,) int64, argmax of the last valid frame; blank before the first
    num_frames: Tensor  # (B,) int64, valid frames seen


class Merged(NamedTuple):
    """The tokens that begin in some frames, the places of those frames, and the last id."""

    tokens: list[int]
    places: list[int]
    last_id: int


def init_collapse(batch_size: int, device: torch.device | str = "cpu") -> CollapseState:
    """The state of `batch_size` streams that have not begun."""
    last_id = torch.full((batch_size,), BLANK_ID, dtype=torch.int64, device=device)
    return CollapseState(last_id, torch.zeros_like(last_id))


def best_ids(logits: Tensor, valid: Tensor) -> Tensor:
    """The likeliest id of each frame: `(B, T, V)` and `(B, T)` to `(B, T)`, -1 if not valid."""
    return logits.argmax(-1).masked_fill(~valid, NO_ID)


def merge(ids: Iterable[int], last_id: int = BLANK_ID) -> Merged:
    """The tokens of one stream's frames after a frame of `last_id`; ids of -1 are passed over."""
    tokens, places = [], []
    for place, index in enumerate(ids):
        if index == NO_ID:
            continue
        if index not in (BLANK_ID, last_id):
            tokens.append(index)
            places.append(place)
        last_id = index
    return Merged(tokens, places, last_id)


def collapse(
    logits: Tensor, valid: Tensor, state: CollapseState
) -> tuple[list[list[int]], list[list[int]], CollapseState]:
    """New CTC tokens of each stream, where each was found, and the state for the next chunk.

    `logits` (B, T, V), `valid` (B, T) bool. Frames that are not valid are passed over as if they
    were not there. The second list holds the frame on which each token starts, counted in valid
    frames from the beginning of the stream (25 Hz for the encoder's output).
    Raises `ValueError` when shapes do not fit.
    """
    if logits.dim() != 3 or valid.shape != logits.shape[:2] or len(state.last_id) != len(logits):
        raise ValueError(
            "`logits` (B, T, V), `valid` (B, T) and `state` (B,) must agree, but are "
            f"{tuple(logits.shape)}, {tuple(valid.shape)}, {tuple(state.last_id.shape)} instead."
        )
    starts = state.num_frames.tolist()
    heard = [[i for i in row if i != NO_ID] for row in best_ids(logits, valid).tolist()]
    merged = [merge(row, last) for row, last in zip(heard, state.last_id.tolist(), strict=True)]
    frames = [[start + p for p in m.places] for start, m in zip(starts, merged, strict=True)]
    return (
        [m.tokens for m in merged],
        frames,
        CollapseState(
            state.last_id.new_tensor([m.last_id for m in merged]),
            state.num_frames + valid.sum(1),
        ),
    )
