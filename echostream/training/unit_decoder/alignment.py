"""Where the units of a text stand among the positions of its alignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from echostream.models.unit_merge import merge_units
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


def merged(classes: Tensor, lengths: Tensor, blank: int) -> list[list[int]]:
    """The units of alignments `(B, T)`."""
    start = torch.full_like(lengths, blank)
    units, count, _ = merge_units(classes, lengths, blank, start)
    return [row[:number].tolist() for row, number in zip(units, count.tolist(), strict=True)]
