"""The CT-mask (causal, truncated) on the group clock, and length masks."""

from __future__ import annotations

import torch
from torch import Tensor


def ct_mask(queries: Tensor, keys: Tensor, group: int, left: int, look_ahead: int) -> Tensor:
    """The CT-mask `(Tq, Tk)`, True where the query may attend to the key.

    `queries (Tq,)` and `keys (Tk,)` are frame positions (int64) on one time axis whose groups begin
    at multiples of `group`. Frame i may attend to frame j iff
    `group(i) - left <= group(j) <= group(i) + look_ahead`, with `left` and `look_ahead` in groups.
    Inside a group, attention is not masked.
    """
    query_group = queries.div(group, rounding_mode="floor")
    key_group = keys.div(group, rounding_mode="floor")
    ahead = key_group[None, :] - query_group[:, None]  # (Tq, Tk)
    return (ahead >= -left) & (ahead <= look_ahead)


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """`(B, size)` bool, True for the first `lengths[b]` positions of row b."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]
