"""The last units of a stream: those that are done, as left context, and those that still wait."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from echostream.modules.masks import length_mask


class UnitWindow(NamedTuple):
    """The last W units of each stream, the newest one at the end."""

    units: Tensor  # (B, W) int64
    valid: Tensor  # (B, W) bool, False before the first unit of the stream
    num_waiting: Tensor  # (B,) int64, units at the end that wait for those after them


class Taken(NamedTuple):
    """The units that are due in a step, `E` at most, with a context on both sides."""

    units: Tensor  # (B, context + E + context)
    valid: Tensor  # of the same shape, False outside the stream and for what is not known yet
    num_due: Tensor  # (B,) int64, from 0 to E


def empty_window(batch_size: int, size: int, like: Tensor) -> UnitWindow:
    """The window of `batch_size` new streams, on the device of `like`."""
    units = torch.zeros(batch_size, size, dtype=torch.int64, device=like.device)
    num_waiting = torch.zeros(batch_size, dtype=torch.int64, device=like.device)
    return UnitWindow(units, torch.zeros_like(units, dtype=torch.bool), num_waiting)


def take_due(
    window: UnitWindow, units: Tensor, count: Tensor, context: int, lookahead: int
) -> tuple[Taken, UnitWindow]:
    """Appends units to a window and takes those that have `lookahead` units after them.

    Args:
        window: it holds `context` units and as many as may wait.
        units: `(B, T)` int64, of row b the first `count[b]`.
        count: `(B,)` int64.
        context: units to return before and after those that are due; on the right, units that are
            not known yet are not valid.
        lookahead: 0 takes all.
    """
    size = window.units.shape[1]
    known = torch.cat([window.units, units], dim=1)  # (B, W + T)
    valid = torch.cat([window.valid, length_mask(count, units.shape[1])], dim=1)
    num_due = (window.num_waiting + count - lookahead).clamp(min=0)

    width = 2 * context + int(num_due.max())
    start = size - window.num_waiting - context  # of the left context of the first one that is due
    index = start[:, None] + torch.arange(width, device=units.device)
    is_known = index < known.shape[1]
    index = index.clamp(max=known.shape[1] - 1)
    taken = Taken(known.gather(1, index), valid.gather(1, index) & is_known, num_due)

    last = count[:, None] + torch.arange(size, device=units.device)
    num_waiting = window.num_waiting + count - num_due
    return taken, UnitWindow(known.gather(1, last), valid.gather(1, last), num_waiting)
