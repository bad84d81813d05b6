"""Greedy CTC decoding, chunk by chunk: repeats are merged and blanks dropped across chunks.

The merge rule needs the id of the frame before, so that id is the state: a token whose frames lie
on both sides of a cut is counted once (Graves et al., ICML 2006, the mapping B).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from echostream.models.ctc import BLANK_ID


class CollapseState(NamedTuple):
    """What the merge must remember of each stream."""

    last_id: Tensor  # (B,) int64, argmax of the last valid frame; blank before the first
    num_frames: Tensor  # (B,) int64, valid frames seen


def init_collapse(batch_size: int, device: torch.device | str = "cpu") -> CollapseState:
    """The state of `batch_size` streams that have not begun."""
    last_id = torch.full((batch_size,), BLANK_ID, dtype=torch.int64, device=device)
    return CollapseState(last_id, torch.zeros_like(last_id))


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
    # One transfer for the whole chunk: the merge itself is a few integers a second.
    best = logits.argmax(-1) if logits.shape[1] else logits.new_empty(valid.shape).long()
    best = best.masked_fill(~valid, -1)  # (B, T), no id is -1
    last_ids, starts = state.last_id.tolist(), state.num_frames.tolist()
    tokens: list[list[int]] = []
    frames: list[list[int]] = []
    for row, ids in enumerate(best.tolist()):
        tokens.append([])
        frames.append([])
        for token in ids:
            if token < 0:
                continue
            if token not in (BLANK_ID, last_ids[row]):
                tokens[row].append(token)
                frames[row].append(starts[row])
            last_ids[row] = token
            starts[row] += 1
    last_id, num_frames = state.last_id.new_tensor(last_ids), state.num_frames.new_tensor(starts)
    return tokens, frames, CollapseState(last_id, num_frames)
