"""From the classes of frames to units: the merge of a CTC alignment, word by word."""

from __future__ import annotations

import torch
from torch import Tensor

from echostream.modules.masks import length_mask

DROPPED = 5  # to speak faster, one in so many merged units is left out


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


def drop_some(units: Tensor, num_units: Tensor, faster: Tensor) -> tuple[Tensor, Tensor]:
    """Every fifth unit left out of the rows `faster (B,)`, so that the rest takes 0.8 of the time.

    Units of an alignment have no duration that could be divided by the speed.
    """
    position = torch.arange(units.shape[1], device=units.device)
    dropped = faster[:, None] & (position % DROPPED == DROPPED - 1)
    return compact(units, length_mask(num_units, units.shape[1]) & ~dropped)
