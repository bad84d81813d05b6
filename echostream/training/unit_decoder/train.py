"""The training run of a unit decoder."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from echostream.config import ConfigError
from echostream.data.unit_table import read_unit_table
from echostream.data.units import UnitModel
from echostream.files import locked, remove_unfinished
from echostream.model_folder import TARGET_SPM, open_folder
from echostream.models.unit_decoder import UnitDecoder
from echostream.speech_folder import save_part
from echostream.streaming.clock import UNIT_MS
from echostream.text.tokenizer import Tokenizer
from echostream.training.checkpoint import Checkpoints
from echostream.training.folder import CHECKPOINTS, check_run_config
from echostream.training.log import RunLog
from echostream.training.unit_decoder.config import UnitOptimConfig, UnitTrainConfig
from echostream.training.unit_decoder.example import (
    NO_UNIT,
    UnitBatch,
    UnitExample,
    collate_units,
    read_examples,
)
from echostream.training.unit_decoder.loss import soft_targets, unit_losses

_README = """\
# Unit decoder

Words to units, {parameters:.1f} M parameters. Trained with `echostream train` (`kind:
unit_decoder`) for {steps} steps on {examples} texts of {table}. On {dev_examples} other texts:
{scores}. Unit model: {units}, SHA-256 of its centroids {digest}.
"""


def train_unit_decoder(config: UnitTrainConfig) -> Path:
    """Trains, or resumes a run; returns the folder of the unit decoder, `<output>/model`.

    Batches depend on the seed and the step alone, so a resumed run has the weights of one that was
    not stopped.

    Raises:
        ConfigError: if the folder holds a run of another configuration, or a value is not possible.
        TableError: naming the line of a table.
        BlockingIOError: if another process trains in the folder.
        FloatingPointError: if a gradient is not finite.
    """
    if not config.output.strip():
        raise ConfigError("`output` must be the folder of the run, but is empty.")
    folder = Path(config.output)
    units = UnitModel.load(config.data.units)
    model_folder, model_config = open_folder(config.data.text_model)
    tokenizer = Tokenizer.load(model_folder / TARGET_SPM)
    network = dataclasses.replace(
        config.network, vocab_size=tokenizer.vocab_size, num_units=units.num_units
    )
    train, dev = (
        read_examples(table, network, tokenizer, model_config.target_emission_unit)
        for table in map(read_unit_table, (config.data.train_tsv, config.data.dev_tsv))
    )
    with locked(folder):
        check_run_config(folder, config)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.data.seed)
        decoder = UnitDecoder(network)
        return Run(config, folder, units, train, dev, decoder).complete()


class Losses(NamedTuple):
    """The parts of the loss of a step."""

    units: float
    durations: float


class Scores(NamedTuple):
    """How a unit decoder does on texts that it was not trained on."""

    distance_db: float  # RMS difference of the centroids of found and wanted units
    accuracy: float  # share of the units that are right
    duration_error: float  # mean absolute error of the duration of a word, in ms

    def __str__(self) -> str:
        return (
            f"{self.distance_db:.2f} dB from the units of the speech, {self.accuracy:.1%} of them "
            f"right, {self.duration_error:.0f} ms error of a word's duration"
        )


@dataclass
class Run:
    """A prepared run."""

    config: UnitTrainConfig
    folder: Path
    units: UnitModel
    train: Sequence[UnitExample]
    dev: Sequence[UnitExample]
    decoder: UnitDecoder

    def complete(self) -> Path:
        """Trains from the last checkpoint, or from the beginning, and writes the folder."""
        config = self.config
        optimizer = torch.optim.AdamW(
            self.decoder.parameters(),
            lr=config.optim.lr,
            betas=(0.9, 0.98),
            weight_decay=config.optim.weight_decay,
        )
        checkpoints = Checkpoints(self.folder / CHECKPOINTS, config.keep_checkpoints)
        restored = checkpoints.restore(self.decoder, optimizer)
        step = restored[0] if restored else 0
        targets = soft_targets(torch.from_numpy(self.units.centroids), config.loss.near_units)
        with RunLog(self.folder, config.steps, step) as log:
            while step < config.steps:
                stop = min(config.steps, step + config.checkpoint_steps)
                self._train_until(stop, step, targets, optimizer, log)
                step = stop
                checkpoints.save(step, self.decoder, optimizer, [])
                self._validate(step, log)
            self.decoder.load_state_dict(checkpoints.mean_weights())
            scores = self._validate(step, log)
        remove_unfinished(self.folder / "model")
        save_part(self.folder / "model", self.decoder.eval(), self._readme(scores))
        return self.folder / "model"

    def _train_until(
        self,
        stop: int,
        first: int,
        targets: Tensor,
        optimizer: torch.optim.Optimizer,
        log: RunLog,
    ) -> None:
        started, audio, sums = time.perf_counter(), 0.0, torch.zeros(2)
        self.decoder.train()
        for step in range(first, stop):
            batch = self._draw(step)
            losses = self._step(step, batch, targets, optimizer)
            sums += torch.tensor(losses)
            audio += int(batch.durations.sum()) * UNIT_MS / 1000
            log.advance(losses.units, audio / (time.perf_counter() - started))
        means = Losses(*(sums / (stop - first)).tolist())
        rate = learning_rate(stop - 1, self.config.steps, self.config.optim)
        log.write("train", stop, **means._asdict(), learning_rate=rate)

    def _draw(self, step: int) -> UnitBatch:
        rng = np.random.default_rng((self.config.data.seed, step))
        size = min(self.config.data.batch_size, len(self.train))
        rows = rng.choice(len(self.train), size, replace=False)
        return collate_units([self.train[row] for row in rows])

    def _step(
        self, step: int, batch: UnitBatch, targets: Tensor, optimizer: torch.optim.Optimizer
    ) -> Losses:
        optim = self.config.optim
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config.steps, optim)
        losses = unit_losses(self.decoder, batch, targets)
        optimizer.zero_grad(set_to_none=True)
        total = losses.units + self.config.loss.durations * losses.durations
        total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), optim.clip_norm)
        if not norm.isfinite():
            raise FloatingPointError(f"The gradient of step {step + 1} is not finite.")
        optimizer.step()
        return Losses(losses.units.item(), losses.durations.item())

    def _validate(self, step: int, log: RunLog) -> Scores:
        scores = score(self.decoder.eval(), self.dev, torch.from_numpy(self.units.centroids))
        log.write("dev", step, **scores._asdict())
        log.print(f"step {step}: {scores}")
        return scores

    def _readme(self, scores: Scores) -> str:
        config = self.config
        return _README.format(
            parameters=sum(each.numel() for each in self.decoder.parameters()) / 1e6,
            steps=config.steps,
            examples=len(self.train),
            table=Path(config.data.train_tsv).name,
            dev_examples=len(self.dev),
            scores=scores,
            units=Path(config.data.units).name,
            digest=UnitModel.digest(config.data.units),
        )


@torch.inference_mode()
def score(
    decoder: UnitDecoder, examples: Sequence[UnitExample], centroids: Tensor, size: int = 20
) -> Scores:
    """Scores of units at the durations of the speech, and of the durations themselves.

    `centroids (U, F)` are of log-mel features.
    """
    squares, right, errors = [], [], []
    for start in range(0, len(examples), size):
        batch = collate_units(examples[start : start + size])
        output = decoder(batch.words, batch.following, batch.durations)
        known, spoken = batch.units != NO_UNIT, batch.durations > 0
        found, wanted = output.units[known].argmax(-1), batch.units[known]
        squares.append((centroids[found] - centroids[wanted]).square().mean(-1))
        right.append((found == wanted).float())
        sizes = torch.arange(1, output.durations.shape[-1] + 1)
        expected = (output.durations[spoken].softmax(-1) * sizes).sum(-1)
        errors.append((expected - batch.durations[spoken]).abs())
    decibels = 10 / math.log(10)  # features are natural logarithms of power
    return Scores(
        torch.cat(squares).mean().sqrt().item() * decibels,
        torch.cat(right).mean().item(),
        torch.cat(errors).mean().item() * UNIT_MS,
    )


def learning_rate(step: int, steps: int, optim: UnitOptimConfig) -> float:
    """A linear rise over the warm-up, then half a cosine down to zero at the last step."""
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    share = (step - optim.warmup_steps) / max(1, steps - optim.warmup_steps)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * share))
