"""One step of a training."""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from echostream.models.echostream import EchoStreamModel
from echostream.training.augment import spec_augment
from echostream.training.batch import Batch, padded
from echostream.training.config import TrainConfig
from echostream.training.dropout import add_dropout
from echostream.training.horizons import draw_lags
from echostream.training.losses import alignment_weight, learning_rate
from echostream.training.multitask import Counts, Draws, MultitaskLoss, count_tokens
from echostream.training.optimizer import make_optimizer
from echostream.training.ranks import Ranks

# In bfloat16 oneDNN compiles a kernel for each new shape, and keeps a limited number of them: with
# lengths as they come a CPU would spend much of a step on it (benchmarks/train_step.py).
_BF16_MULTIPLE = 64  # frames
_SLOT_SEEDS = 15_485_863  # apart: a prime, so that no step meets the seed of another's slot soon


class StepReport(NamedTuple):
    """Losses per token, the norm of the gradient before clipping, and what the heads write."""

    asr_loss: float
    st_loss: float
    decoder_loss: float  # 0 without a decoder
    gradient_norm: float
    asr_ratio: float  # tokens that the head writes to those of the text; 0 if only blanks
    st_ratio: float


class Trainer:
    """The network of a run and its optimizer."""

    def __init__(
        self,
        model: EchoStreamModel,
        config: TrainConfig,
        device: torch.device,
        ranks: Ranks | None = None,
    ) -> None:
        self.model = model.to(device)
        add_dropout(self.model, config.dropout)
        self.config = config
        self.device = device
        self.ranks = ranks or Ranks()
        self.optimizer = make_optimizer(model, config.optim)
        self._loss = MultitaskLoss(model, config.loss, device, config.precision)
        self._ddp: DistributedDataParallel | None = None

    def distribute(self) -> None:
        """Gives all ranks the weights of the first, and joins their gradients from now on."""
        if self.ranks.size > 1:
            self._ddp = DistributedDataParallel(self._loss, find_unused_parameters=True)

    def step(self, step: int, *batches: Batch) -> StepReport:
        """Trains on the batches of a step, on each rank on its share of them.

        Random choices follow from the seed, the number of the step and that of the batch in it.
        The losses are divided by the tokens of all batches of the step on all ranks.

        Raises:
            FloatingPointError: if the loss or the gradient is not finite; the weights are then as
                before, on all ranks.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config.steps, self.config.optim)
        self.model.train()
        counts = torch.stack([count_tokens(batch) for batch in batches]).sum(0).to(self.device)
        totals = Counts(*self.ranks.sum(counts).clamp(min=1))
        sums = torch.zeros(1 + len(MultitaskLoss.REPORTED), device=self.device)
        self.optimizer.zero_grad(set_to_none=True)
        slots = self.ranks.slots(self.config.accumulate)
        for slot, batch in zip(slots, batches, strict=True):
            joins = slot == slots[-1]  # the gradients of the ranks, once in a step
            with nullcontext() if joins or self._ddp is None else self._ddp.no_sync():
                sums += self._backward(step, slot, batch, totals)
        loss, *reported = self.ranks.sum(sums).tolist()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip_norm).item()
        if not torch.tensor([norm, loss]).isfinite().all():
            raise FloatingPointError(
                f"the loss of step {step} is {loss:.4g}, and its gradient {norm:.4g}"
            )
        self.optimizer.step()
        values = dict(zip(MultitaskLoss.REPORTED, reported, strict=True))
        return StepReport(**values, gradient_norm=norm)

    def _backward(self, step: int, slot: int, batch: Batch, totals: Counts) -> torch.Tensor:
        """Adds the gradient of a batch; returns its share of the loss and of what is reported."""
        seed = 1_000_003 * self.config.data.seed + step + slot * _SLOT_SEEDS
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
        batch = batch._replace(frames=frames)
        if self.config.precision == "bf16":
            batch = padded(batch, _BF16_MULTIPLE)
        max_lagging_k1 = self.config.loss.decoder_max_lag
        lagging_k1 = int(torch.randint(max_lagging_k1 + 1, (), generator=generator))
        lags = draw_lags(len(frames), self.config.loss, generator)
        align_weight = alignment_weight(step, self.config.loss)
        frozen = step < self.config.freeze_steps
        loss, reported = (self._ddp or self._loss)(
            batch, Draws(look_ahead, lagging_k1, lags, align_weight, frozen), totals
        )
        (loss * self.ranks.size).backward()  # the ranks take the mean of their gradients
        return torch.cat([loss.detach()[None], reported])
