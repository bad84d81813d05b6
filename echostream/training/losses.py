"""The parts of the training loss, and the schedules of their weights and of the learning rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from echostream.config import BLANK_ID
from echostream.models.ctc_decode import best_ids
from echostream.models.echostream import CtcOutput
from echostream.models.text_decoder import BOUNDARY_ID, TextDecoder
from echostream.training.config import LossConfig, OptimConfig
from echostream.training.example import NO_LABEL
from echostream.training.horizons import horizons

PADDING = -100  # ignored by cross-entropy


def ctc_loss(
    logits: Tensor,
    lengths: Tensor,
    tokens: Tensor,
    token_lengths: Tensor,
    count: Tensor | None = None,
) -> Tensor:
    """CTC loss per token; `logits (B, T, V)`, `lengths (B,)`, all `tokens` in one vector.

    Rows whose text is unknown, of `token_lengths` -1, have no part in it. Here and below, `count`
    is the number of tokens to divide by, if it is not that of the batch.
    """
    known = token_lengths >= 0
    if not known.all():
        if not known.any():
            return logits.sum() * 0.0  # so that the loss still has a gradient
        logits, lengths, token_lengths = logits[known], lengths[known], token_lengths[known]
    log_probs = functional.log_softmax(logits.float(), dim=-1).transpose(
        0, 1
    )  # (B, T, V) -> (T, B, V)
    total = functional.ctc_loss(
        log_probs,
        tokens,
        lengths,
        token_lengths,
        blank=BLANK_ID,
        reduction="sum",
        zero_infinity=True,
    )
    # A batch may have no text at all.
    return total / (token_lengths.sum().clamp(min=1) if count is None else count)


def alignment_loss(
    logits: Tensor, labels: Tensor, blank_weight: float, count: Tensor | None = None
) -> Tensor:
    """Frame-level cross-entropy per token; `logits (B, T, V)`, `labels (B, T)`.

    Frames labelled blank have the weight `blank_weight`, those labelled -1 are ignored.
    """
    weight = torch.where(labels == BLANK_ID, blank_weight, 1.0)
    each = functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=NO_LABEL, reduction="none"
    )
    count = (labels > BLANK_ID).sum().clamp(min=1) if count is None else count
    return (each * weight.flatten()).sum() / count


def decoder_loss(
    decoder: TextDecoder,
    output: CtcOutput,
    tokens: Tensor,
    lengths: Tensor,
    lagging_k1: int,
    label_smoothing: float,
    count: Tensor | None = None,
    lags: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the text decoder per token; `tokens` in one vector, `lengths (B,)`.

    Each token attends to the groups of its horizon (`echostream.training.horizons`, for `lags
    (B,)`). By default that is the group after which the policy allows it: the decoder is trained on
    the counts of the ST head, with their errors, and not on those of the reference. Rows whose text
    is unknown, of `lengths` -1, have no part in it.
    """
    known = lengths >= 0
    if not known.all():
        if not known.any():
            return output.st_frames.sum() * 0.0
        output, lengths = CtcOutput(*(field[known] for field in output)), lengths[known]
        lags = None if lags is None else lags[known]
    labels = _labels(tokens, lengths).to(output.valid.device)  # (B, U), the boundary comes last
    before = functional.pad(labels[:, :-1], (1, 0), value=BOUNDARY_ID)
    horizon = horizons(output, lengths + 1, labels.shape[1], lagging_k1, lags)
    logits = decoder(output.st_frames, output.valid, before.clamp(min=0), horizon)
    total = functional.cross_entropy(
        logits.float().flatten(0, 1),
        labels.flatten(),
        ignore_index=PADDING,
        label_smoothing=label_smoothing,
        reduction="sum",
    )
    return total / ((labels != PADDING).sum() if count is None else count)


def num_written(logits: Tensor, valid: Tensor) -> Tensor:
    """The number of tokens that a CTC head writes in a batch: blanks and repeats do not count."""
    ids = best_ids(logits, valid)
    before = functional.pad(ids[:, :-1], (1, 0), value=BLANK_ID)
    return ((ids > BLANK_ID) & (ids != before)).sum()


def _labels(tokens: Tensor, lengths: Tensor) -> Tensor:
    rows = [
        functional.pad(row, (0, 1), value=BOUNDARY_ID)
        for row in torch.split(tokens, lengths.tolist())
    ]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING)


def learning_rate(step: int, steps: int, config: OptimConfig) -> float:
    """The learning rate of a step: linear warm-up, then linear decay, or Eden."""
    if config.schedule == "eden":
        warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
        return config.lr * warm / math.hypot(1, step / config.eden_steps)
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return config.lr + (config.final_lr - config.lr) * done


def alignment_weight(step: int, config: LossConfig) -> float:
    """The weight of the alignment loss: from 1 to 0 over `align_steps`."""
    return max(0.0, 1.0 - step / config.align_steps) if config.align_steps else 0.0
