"""The loss of the text decoder: cross-entropy, each token with what is heard when it is due."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from echostream.config import BLANK_ID
from echostream.models.echostream import CtcOutput
from echostream.models.text_decoder import BOUNDARY_ID, TextDecoder
from echostream.streaming.clock import GROUP_OUTPUTS

PADDING = -100  # the label that cross-entropy passes over


def decoder_loss(
    decoder: TextDecoder,
    output: CtcOutput,
    tokens: Tensor,
    lengths: Tensor,
    lag: int,
    label_smoothing: float,
) -> Tensor:
    """Cross-entropy a token; `tokens` of all rows in one vector, `lengths (B,)`.

    Each token sees what a stream has heard when the translation head has found as many tokens, and
    `lag` more: at that moment the policy allows it. So the decoder is trained on the head's own
    counts, wrong as they may be, and not on the reference's.
    """
    labels = _labels(tokens, lengths).to(output.valid.device)  # (B, U), the boundary comes last
    before = functional.pad(labels[:, :-1], (1, 0), value=BOUNDARY_ID)
    horizon = horizons(output.st_logits, output.valid, labels.shape[1], lag)
    logits = decoder(output.st_frames, output.valid, before.clamp(min=0), horizon)
    return functional.cross_entropy(
        logits.float().flatten(0, 1),
        labels.flatten(),
        ignore_index=PADDING,
        label_smoothing=label_smoothing,
    )


def horizons(st_logits: Tensor, valid: Tensor, num_tokens: int, lag: int) -> Tensor:
    """`(B, num_tokens)` groups heard when the head has found as many tokens, and `lag` more.

    All groups of the recording for tokens that the head does not find.
    """
    best = st_logits.argmax(-1).masked_fill(~valid, BLANK_ID)  # (B, T)
    found = (best != BLANK_ID) & (best != functional.pad(best[:, :-1], (1, 0), value=BLANK_ID))
    count = found.cumsum(1)  # (B, T)
    wanted = torch.arange(1 + lag, num_tokens + 1 + lag, device=count.device)
    frame = (count[:, None] < wanted[:, None]).sum(2)  # (B, U), T where it is not found
    all_groups = (valid.sum(1, keepdim=True) - 1).div(GROUP_OUTPUTS, rounding_mode="floor") + 1
    return torch.minimum(frame.div(GROUP_OUTPUTS, rounding_mode="floor") + 1, all_groups)


def _labels(tokens: Tensor, lengths: Tensor) -> Tensor:
    rows = [
        functional.pad(row, (0, 1), value=BOUNDARY_ID)
        for row in torch.split(tokens, lengths.tolist())
    ]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING)
