"""One step of a training."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from echostream.models.echostream import EchoStreamModel
from echostream.training.augment import spec_augment
from echostream.training.batch import Batch
from echostream.training.config import TrainConfig
from echostream.training.dropout import add_dropout
from echostream.training.losses import (
    alignment_loss,
    alignment_weight,
    ctc_loss,
    decoder_loss,
    learning_rate,
    num_written,
)


class StepReport(NamedTuple):
    """Losses per token, the norm of the gradient before clipping, and what the heads write."""

    asr_loss: float
    st_loss: float
    decoder_loss: float  # 0 without a decoder
    gradient_norm: float
    asr_ratio: float  # tokens that the head writes to those of the text; 0 if only blanks
    st_ratio: float


_REPORTED = ("asr_loss", "st_loss", "decoder_loss", "asr_ratio", "st_ratio")


class Trainer:
    """The network of a run and its optimizer (AdamW, Loshchilov and Hutter 2019)."""

    def __init__(self, model: EchoStreamModel, config: TrainConfig, device: torch.device) -> None:
        self.model = model.to(device)
        add_dropout(self.model, config.dropout)
        self.config = config
        self.device = device
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=config.optim.lr,
            betas=(0.9, 0.98),
            weight_decay=config.optim.weight_decay,
            # One kernel for all weights; PyTorch has it on the CPU from 2.4 on.
            fused=torch.__version__ >= "2.4",  # compares as versions do
        )

    def step(self, step: int, batch: Batch) -> StepReport:
        """Trains on a batch; its random choices follow from the seed and the number of the step.

        Raises:
            FloatingPointError: if the loss or the gradient is not finite; the weights are then as
                before.
        """
        seed = 1_000_003 * self.config.data.seed + step
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # of the dropout
        choices = self.model.max_future_frames
        look_ahead = choices[int(torch.randint(len(choices), (), generator=generator))]
        augment = self.config.augment
        frames = spec_augment(
            batch.frames,
            augment.frequency_masks,
            augment.frequency_bins,
            augment.time_masks,
            augment.time_frames,
            generator,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config.steps, self.config.optim)
        max_lagging_k1 = self.config.loss.decoder_max_lag
        lagging_k1 = int(torch.randint(max_lagging_k1 + 1, (), generator=generator))
        self.model.train()
        align_weight = alignment_weight(step, self.config.loss)
        loss, report = self._losses(
            batch._replace(frames=frames), look_ahead, lagging_k1, align_weight
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip_norm)
        if not (norm.isfinite() and loss.isfinite()):
            raise FloatingPointError(
                f"the loss of step {step} is {loss.item():.4g}, and its gradient {norm.item():.4g}"
            )
        self.optimizer.step()
        values: list[float] = torch.stack(
            [each.float().to(norm.device) for each in report]
        ).tolist()
        return StepReport(**dict(zip(_REPORTED, values, strict=True)), gradient_norm=norm.item())

    def _losses(
        self, batch: Batch, look_ahead: int, lagging_k1: int, align_weight: float
    ) -> tuple[Tensor, list[Tensor]]:
        """The loss of a batch, and what is reported of it (`_REPORTED`)."""
        weights = self.config.loss
        output = self.model(
            batch.frames.to(self.device), batch.frame_lengths.to(self.device), look_ahead
        )
        lengths = output.valid.sum(1).cpu()
        asr = ctc_loss(output.asr_logits, lengths, batch.source, batch.source_lengths)
        st = ctc_loss(output.st_logits, lengths, batch.target, batch.target_lengths)
        decoder = st.new_zeros(())
        if self.model.decoder is not None:
            smoothing = weights.decoder_label_smoothing
            decoder = decoder_loss(
                self.model.decoder,
                output,
                batch.target,
                batch.target_lengths,
                lagging_k1,
                smoothing,
            )
        loss = weights.asr * asr + weights.st * st + weights.decoder * decoder
        if align_weight > 0:
            blank = weights.align_blank_weight
            source_labels = batch.source_labels.to(self.device)
            target_labels = batch.target_labels.to(self.device)
            asr_aligned = alignment_loss(output.asr_logits, source_labels, blank)
            st_aligned = alignment_loss(output.st_logits, target_labels, blank)
            loss = loss + align_weight * (weights.asr * asr_aligned + weights.st * st_aligned)
        written = (
            num_written(output.asr_logits, output.valid) / max(1, len(batch.source)),
            num_written(output.st_logits, output.valid) / max(1, len(batch.target)),
        )
        return loss, [asr.detach(), st.detach(), decoder.detach(), *written]
