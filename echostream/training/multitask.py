"""The multi-task loss of a batch: CTC of both heads, the text decoder, and aligned frames."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from echostream.config import BLANK_ID
from echostream.models.echostream import EchoStreamModel
from echostream.training.batch import Batch
from echostream.training.config import LossConfig
from echostream.training.losses import alignment_loss, ctc_loss, decoder_loss, num_written

_INTERMEDIATE = 1  # the second stack has the rate of the output


class Counts(NamedTuple):
    """By how many tokens each part of the loss is divided: those of all batches of a step."""

    source: Tensor  # ()
    target: Tensor
    decoder: Tensor  # with the boundary after each text
    source_labels: Tensor  # frames that are labelled with a token
    target_labels: Tensor


class Draws(NamedTuple):
    """What is drawn for a batch, or follows from the step."""

    look_ahead: int
    lagging_k1: int
    lags: Tensor  # (B,) of the rows, see `draw_lags`
    align_weight: float
    frozen: bool = False  # encoder and ASR head get no gradient


def count_tokens(batch: Batch) -> Tensor:
    """The numbers of `Counts`, of one batch, `(5,)`."""
    sizes = (
        len(batch.source),
        len(batch.target),
        len(batch.target) + int((batch.target_lengths >= 0).sum()),  # of rows with a text
        int((batch.source_labels > BLANK_ID).sum()),
        int((batch.target_labels > BLANK_ID).sum()),
    )
    return torch.tensor(sizes)


class MultitaskLoss(nn.Module):
    """The network with its loss, as one module, whose `forward` other processes can hook into."""

    REPORTED = ("asr_loss", "st_loss", "decoder_loss", "asr_ratio", "st_ratio")

    def __init__(
        self, model: EchoStreamModel, weights: LossConfig, device: torch.device, precision: str
    ) -> None:
        super().__init__()
        self.model, self.weights = model, weights
        self.device, self.precision = device, precision

    def forward(self, batch: Batch, draws: Draws, counts: Counts) -> tuple[Tensor, Tensor]:
        """The loss, and `(5,)` what is reported of the batch: both are sums of shares of the step.

        With the precision bf16 the network computes in bfloat16 (autocast), the losses in float32.
        """
        weights, device = self.weights, self.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            output, stacks = self.model.forward_with_stacks(
                batch.frames.to(device),
                batch.frame_lengths.to(device),
                draws.look_ahead,
                draws.frozen,
            )
            lengths = output.valid.sum(1).cpu()
            asr = ctc_loss(
                output.asr_logits, lengths, batch.source, batch.source_lengths, counts.source
            )
            st = ctc_loss(
                output.st_logits, lengths, batch.target, batch.target_lengths, counts.target
            )
            decoder = st.new_zeros(())
            if self.model.decoder is not None:
                decoder = decoder_loss(
                    self.model.decoder,
                    output,
                    batch.target,
                    batch.target_lengths,
                    draws.lagging_k1,
                    weights.decoder_label_smoothing,
                    counts.decoder,
                    draws.lags,
                )
            loss = weights.asr * asr + weights.st * st + weights.decoder * decoder
            if weights.asr_intermediate:
                logits = self.model.asr_head(stacks[_INTERMEDIATE][:, : output.valid.shape[1]])
                loss = loss + weights.asr_intermediate * ctc_loss(
                    logits, lengths, batch.source, batch.source_lengths, counts.source
                )
            if draws.align_weight > 0:
                asr_aligned, st_aligned = (
                    alignment_loss(logits, labels.to(device), weights.align_blank_weight, count)
                    for logits, labels, count in (
                        (output.asr_logits, batch.source_labels, counts.source_labels),
                        (output.st_logits, batch.target_labels, counts.target_labels),
                    )
                )
                aligned = weights.asr * asr_aligned + weights.st * st_aligned
                loss = loss + draws.align_weight * aligned
        asr_ratio, st_ratio = (
            num_written(logits, output.valid) / count
            for logits, count in (
                (output.asr_logits, counts.source),
                (output.st_logits, counts.target),
            )
        )
        return loss, torch.stack([asr, st, decoder, asr_ratio, st_ratio]).detach()
