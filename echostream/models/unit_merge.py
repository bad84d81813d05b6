"""From the classes of frames to units: the merge of a CTC alignment, word by word."""

from __future__ import annotations

import torch
from torch import Tensor

from echostream.modules.masks import length_mask


def merge_units(
    classes: Tensor, num_frames: Tensor, blank: int, last: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Drops blanks and repeats: classes `(B, T)` to units `(B, T)`, their number, the last class.

    Row b has `num_frames[b]` frames, which follow one of class `last[b]`. The units stand at the
    front of each row. (Graves et al., ICML 2006, the mapping B.)
    """
    here = length_mask(num_frames, classes.shape[1])
    before = torch.cat([last[:, None], classes[:, :-1]], dim=1)
    kept = here & (classes != blank) & (classes != before)
    units, count = compact(classes, kept)
    newest = classes.gather(1, (num_frames - 1).clamp(min=0)[:, None])[:, 0]
    return units, count, torch.where(num_frames > 0, newest, last)


def compact(units: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """The units `(B, T)` that are kept, at the front of each row before zeros, and their number."""
    order = (~kept).to(torch.int64).argsort(dim=1, stable=True)
    return units.masked_fill(~kept, 0).gather(1, order), kept.sum(1)


def drop_some(units: Tensor, num_units: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
    """Units left out of each row, evenly, so that the rest takes `1 / speed (B,)` of the time.

    Units of an alignment have no duration that could be divided by the speed. At 1.25 every fifth
    one is left out.
    """
    place = torch.arange(units.shape[1] + 1, device=units.device)
    reached = (place / speed[:, None]).ceil()  # units that are left of so many
    kept = reached[:, 1:] > reached[:, :-1]
    return compact(units, length_mask(num_units, units.shape[1]) & kept)
