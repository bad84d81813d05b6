"""The horizons of the text decoder in training: the groups that each token may attend to.

A token that the decoder writes in a stream has those that have arrived by then. Three kinds of
horizons are mixed, so that one decoder serves all policies: those of the CTC policy, from the ST
head as it is; diagonals of all lags, for policies that ask sooner or later than that head would
(as the many k of Elbayad et al. 2020, arXiv:2005.08595); and whole recordings.
"""

from __future__ import annotations

import torch
from torch import Tensor

from echostream.models.ctc_decode import best_ids, merge
from echostream.models.echostream import CtcOutput
from echostream.streaming.clock import GROUP_OUTPUTS
from echostream.training.config import LossConfig

CTC, WHOLE = -1.0, 1.0


def draw_lags(batch_size: int, config: LossConfig, generator: torch.Generator) -> Tensor:
    """The lag of each row `(B,)`: a share of its recording for a diagonal, `CTC` or `WHOLE`."""
    if not config.decoder_diagonal and not config.decoder_whole:
        return torch.full((batch_size,), CTC)
    drawn = torch.rand(2, batch_size, generator=generator)
    kind, lag = drawn[0], drawn[1]
    lag[kind >= config.decoder_diagonal] = CTC
    lag[kind >= 1 - config.decoder_whole] = WHOLE
    return lag


def horizons(
    output: CtcOutput, num_tokens: Tensor, most: int, lagging_k1: int, lags: Tensor | None = None
) -> Tensor:
    """`(B, most)` groups, from 1 to all; `num_tokens (B,)` have the texts, with their end.

    With the lag `CTC`, the default, token u has those up to the group in which the ST head has
    found u + 1 tokens and `lagging_k1` more, or all if it does not find them. On a diagonal it has
    the share u / `num_tokens` + lag of all groups, and one more.
    """
    num_groups = (output.valid.sum(1) - 1).div(GROUP_OUTPUTS, rounding_mode="floor") + 1
    found = ctc_horizons(output.st_logits, output.valid, most, lagging_k1)
    if lags is None or bool((lags == CTC).all()):
        return found
    lags, num_tokens = (x.to(found.device)[:, None] for x in (lags, num_tokens))
    share = torch.arange(most, device=found.device) / num_tokens + lags  # (B, U)
    diagonal = (share * num_groups[:, None]).floor().long() + 1
    return torch.where(lags == CTC, found, diagonal.minimum(num_groups[:, None]))


def ctc_horizons(st_logits: Tensor, valid: Tensor, num_tokens: int, lagging_k1: int) -> Tensor:
    """`(B, num_tokens)` groups up to the one with as many CTC tokens and `lagging_k1` more.

    All groups of the recording for tokens that the head does not find.
    """
    num_groups = (valid.sum(1, keepdim=True) - 1).div(GROUP_OUTPUTS, rounding_mode="floor") + 1
    horizon = num_groups.repeat(1, num_tokens)
    for row, ids in enumerate(best_ids(st_logits, valid).tolist()):
        frames = horizon.new_tensor(merge(ids).positions[lagging_k1 : lagging_k1 + num_tokens])
        horizon[row, : len(frames)] = frames.div(GROUP_OUTPUTS, rounding_mode="floor") + 1
    return torch.minimum(horizon, num_groups)
