"""Where the units of a text stand among the positions of its alignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from echostream.models.unit_merge import merge_units
from echostream.modules.masks import length_mask
from echostream.speech_config import UnitDecoderConfig
from echostream.training.unit_decoder.example import NO_UNIT, UnitExample


def spread_evenly(examples: Sequence[UnitExample], config: UnitDecoderConfig, blank: int) -> Tensor:
    """An alignment `(B, T)` of each text: the units of a word over its positions, evenly.

    A unit holds its positions, the last of them a blank if the same unit follows. Units that do not
    fit into their word go on into the next. A word without units shares those of the next one that
    has any. `NO_UNIT` is padding.
    """
    rows = []
    for example in examples:
        row = np.full(sum(example.positions(config)), blank)
        at = end = first = 0
        for duration, size in zip(example.durations, example.positions(config), strict=True):
            end += size
            units, after = (
                example.units[first : first + duration],
                example.units[first + duration : first + duration + 1],
            )
            at = _spread(row, at, end, units, after) if units else at
            at, first = max(at, end) if units else at, first + duration
        rows.append(torch.from_numpy(row))
    return pad_sequence(rows, batch_first=True, padding_value=NO_UNIT)


def _spread(
    row: NDArray[np.int64], start: int, end: int, units: Sequence[int], after: Sequence[int]
) -> int:
    """Writes units from `start` on, evenly up to `end` or densely beyond; returns where they end.

    `row` is full of blanks; `after` is the unit that follows, if there is one.
    """
    following = [*units[1:], *after, -1][: len(units)]
    needs = [1 + (a == b) for a, b in zip(units, following, strict=True)]
    spare = max(0, end - start - sum(needs))
    # Each unit has what it needs, and its part of the positions that are left over.
    more = np.diff(np.floor(np.linspace(0, spare, len(units) + 1))).astype(int)
    at = start
    for unit, need, extra in zip(units, needs, more.tolist(), strict=True):
        row[at : at + 1 + extra] = unit
        at += need + extra
    return at


@torch.no_grad()
def best_alignment(log_probs: Tensor, lengths: Tensor, units: Tensor, blank: int) -> Tensor:
    """The most probable CTC alignment of the units, `(B, T)`; `NO_UNIT` is padding.

    `log_probs (B, T, C)` with `lengths (B,)` positions; `units (B, S)` padded with `NO_UNIT`.
    Viterbi over the states blank, unit, blank, unit ... blank (Graves et al., ICML 2006).
    """
    rows, size, _ = log_probs.shape
    num_units = (units != NO_UNIT).sum(1)
    states = torch.full((rows, 2 * units.shape[1] + 1), blank)
    states[:, 1::2] = units.clamp(min=0)
    scores = log_probs.gather(2, states[:, None].expand(-1, size, -1))  # (B, T, 2 S + 1)
    skips = torch.zeros_like(states, dtype=torch.bool)  # from the unit before, past the blank
    skips[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    impossible = torch.full_like(scores[:, 0], -1e30)
    best = impossible.clone()
    best[:, :2] = scores[:, 0, :2]
    steps = torch.zeros(scores.shape, dtype=torch.int8)
    for t in range(1, size):
        stay, one = best, torch.cat([impossible[:, :1], best[:, :-1]], 1)
        two = torch.cat([impossible[:, :2], best[:, :-2]], 1).masked_fill(~skips, -1e30)
        value, step = torch.stack([stay, one, two]).max(0)
        here = (t < lengths)[:, None]
        best = torch.where(here, value + scores[:, t], best)
        steps[:, t] = torch.where(here, step, 0).to(torch.int8)
    last = torch.stack([2 * num_units, (2 * num_units - 1).clamp(min=0)], 1)
    state = last.gather(1, best.gather(1, last).argmax(1, keepdim=True))  # (B, 1)
    path = torch.empty(rows, size, dtype=torch.int64)
    for t in range(size - 1, -1, -1):
        path[:, t] = states.gather(1, state)[:, 0]
        state = state - steps[:, t].gather(1, state)
    return path.masked_fill(~length_mask(lengths, size), NO_UNIT)


def merged(classes: Tensor, lengths: Tensor, blank: int) -> list[list[int]]:
    """The units of alignments `(B, T)`."""
    start = torch.full_like(lengths, blank)
    units, count, _ = merge_units(classes, lengths, blank, start)
    return [row[:number].tolist() for row, number in zip(units, count.tolist(), strict=True)]
