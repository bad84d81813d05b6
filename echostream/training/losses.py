"""The loss of one CTC head: CTC, and cross-entropy on known times while training is young."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from echostream.config import BLANK_ID
from echostream.training.example import NO_LABEL


def ctc_loss(logits: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
    """CTC loss a token; `logits (B, T, V)`, `lengths (B,)`, `tokens` of all rows in one vector."""
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
    return total / token_lengths.sum().clamp(min=1)  # a batch may have no text at all


def alignment_loss(logits: Tensor, labels: Tensor, blank_weight: float) -> Tensor:
    """Cross-entropy a piece on `labels (B, T)`; blanks count `blank_weight`, -1 does not count."""
    weight = torch.where(labels == BLANK_ID, blank_weight, 1.0)
    each = functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=NO_LABEL, reduction="none"
    )
    num_pieces = (labels > BLANK_ID).sum().clamp(min=1)
    return (each * weight.flatten()).sum() / num_pieces
