"""The losses of a unit decoder of either kind."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from echostream.models.ctc_align import best_alignment
from echostream.models.unit_decoder import UnitDecoder
from echostream.models.word_lengths import PredictedDurations
from echostream.training.unit_decoder.example import NO_UNIT, UnitBatch


def frame_losses(
    decoder: UnitDecoder, batch: UnitBatch, targets: Tensor, duration_weight: float
) -> dict[str, Tensor]:
    """Cross-entropy of the units and of the durations of a batch, of the kind frame.

    `targets (U, U)`: row u is the distribution that stands for unit u (`soft_targets`).
    """
    states = decoder.encode(batch.words, batch.following)
    units = soft_cross_entropy(decoder(states, batch.durations).logits, batch.units, targets)
    assert isinstance(decoder.lengths, PredictedDurations)
    spoken = batch.durations > 0
    logits = decoder.lengths.logits(states[spoken]).float()
    # Without label smoothing, which would shift the expected duration towards the middle.
    wanted = batch.durations[spoken].clamp(max=logits.shape[-1]) - 1
    durations = functional.cross_entropy(logits, wanted)
    return {"loss": units + duration_weight * durations, "units": units, "durations": durations}


def aligned_losses(
    decoder: UnitDecoder, batch: UnitBatch, alignment: Tensor, targets: Tensor
) -> dict[str, Tensor]:
    """Cross-entropy of an alignment `(B, T)` of a batch, of the kind ctc."""
    logits = decoder(decoder.encode(batch.words, batch.following), batch.positions).logits
    loss = soft_cross_entropy(logits, alignment, targets)
    return {"loss": loss, "units": loss}


def ctc_losses(
    decoder: UnitDecoder, batch: UnitBatch, glancing: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """The CTC loss of a unit, which sums over all alignments (Graves et al., ICML 2006).

    With `glancing`, some classes of the best alignment are shown to the decoder: that share of the
    positions at which it errs, drawn at random (Qian et al. 2021, arXiv:2008.07905).
    """
    states = decoder.encode(batch.words, batch.following)
    lengths, blank = batch.positions.sum(1), decoder.config.num_units
    glance = None
    if glancing:
        with torch.no_grad():
            log_probs = decoder(states, batch.positions).logits.float().log_softmax(-1)
            wanted = best_alignment(log_probs, lengths, batch.units, blank)
            wrong = (log_probs.argmax(-1) != wanted) & (wanted != NO_UNIT)
            share = glancing * wrong.sum(1) / lengths
            drawn = torch.rand(wanted.shape, generator=generator) < share[:, None]
            glance = torch.where(drawn & (wanted != NO_UNIT), wanted, -1)
    log_probs = decoder(states, batch.positions, glance).logits.float().log_softmax(-1)
    counts = (batch.units != NO_UNIT).sum(1)
    loss = functional.ctc_loss(
        log_probs.transpose(0, 1),
        batch.units.clamp(min=0),
        lengths,
        counts,
        blank,
        reduction="none",
    )
    loss = (loss / counts).mean()
    return {"loss": loss, "units": loss}


def soft_cross_entropy(logits: Tensor, wanted: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy of `logits (B, T, C)` with the rows of `targets (C, C)` for the
    classes `wanted (B, T)`, of which `NO_UNIT` is left out."""
    known = wanted != NO_UNIT
    log_probs = functional.log_softmax(logits[:, : wanted.shape[1]][known].float(), dim=-1)
    return -(targets[wanted[known]] * log_probs).sum(-1).mean()


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


def with_blank(targets: Tensor) -> Tensor:
    """The targets `(U, U)` with one more class, the blank, which stands for itself."""
    wider = functional.pad(targets, (0, 1, 0, 1))
    wider[-1, -1] = 1.0
    return wider
