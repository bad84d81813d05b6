"""The loss of the unit decoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echostream.models.unit_decoder import UnitDecoder
from echostream.training.unit_decoder.example import NO_UNIT, UnitBatch


class UnitLosses(NamedTuple):
    """The parts of the loss, each a mean."""

    units: Tensor  # cross-entropy of a frame
    durations: Tensor  # cross-entropy of a word


def unit_losses(decoder: UnitDecoder, batch: UnitBatch, targets: Tensor) -> UnitLosses:
    """Cross-entropy of units and durations of a batch.

    `targets (U, U)`: row u is the distribution that stands for unit u (`soft_targets`).
    """
    output = decoder(batch.words, batch.following, batch.durations)
    known = batch.units != NO_UNIT
    log_probs = functional.log_softmax(output.units[known].float(), dim=-1)  # (frames, U)
    units = -(targets[batch.units[known]] * log_probs).sum(-1).mean()
    spoken = batch.durations > 0
    longest = output.durations.shape[-1]
    durations = functional.cross_entropy(
        output.durations[spoken].float(),
        # Without label smoothing, which would shift the expected duration towards the middle.
        batch.durations[spoken].clamp(max=longest) - 1,
    )
    return UnitLosses(units, durations)


def soft_targets(centroids: Tensor, weight: float) -> Tensor:
    """A distribution for each unit, `(U, F)` to `(U, U)`: itself, and units that sound like it.

    The unit has `1 - weight`; the rest falls off with the squared distance of the centroids,
    measured in those of its nearest neighbours. Units of neighbouring centroids are confused by the
    clustering itself, so to take one for the other is no error of the decoder.
    """
    if weight == 0 or len(centroids) < 3:
        return torch.eye(len(centroids))
    squared = torch.cdist(centroids.double(), centroids.double()).square()
    squared.fill_diagonal_(torch.inf)
    nearest = squared.topk(min(4, len(centroids) - 1), largest=False).values.mean(1, keepdim=True)
    near = (-squared / nearest).softmax(-1)
    return (weight * near + (1 - weight) * torch.eye(len(centroids))).float()
