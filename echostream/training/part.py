"""The training run of a part that speaks: from checkpoint to checkpoint, then its folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from echostream.files import locked, remove_unfinished
from echostream.speech_folder import SpeechPart, save_part
from echostream.training.checkpoint import Checkpoints
from echostream.training.folder import CHECKPOINTS, check_run_config
from echostream.training.log import RunLog
from echostream.training.part_config import PartTrainConfig

Batch = TypeVar("Batch")


class Scores(Protocol):
    """How a part does on held-out examples; its text is a line of the log and of the README."""

    def _asdict(self) -> dict[str, float]:
        """The scores by name."""


class Task(Protocol[Batch]):
    """What is trained: a part, its batches and its losses."""

    @property
    def part(self) -> SpeechPart:
        """The module that is trained."""

    def draw(self, step: int) -> Batch:
        """The batch of a step, which depends on the seed and the step alone."""

    def losses(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """The parts of the loss by name; `loss` is the one to descend."""

    def seconds(self, batch: Batch) -> float:
        """Speech in a batch."""

    def validate(self) -> Scores | None:
        """The scores on held-out examples; None without any."""

    def readme(self, scores: Scores | None) -> str:
        """The README of the part."""


@contextmanager
def run_folder(config: PartTrainConfig, seed: int) -> Iterator[Path]:
    """The folder of a run, locked, of this configuration; also sets threads and seed of PyTorch.

    Raises:
        ConfigError: if the folder holds a run of another configuration.
        BlockingIOError: if another process trains in the folder.
    """
    folder = Path(config.output)
    with locked(folder):
        check_run_config(folder, config)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(seed)
        yield folder


@dataclass(frozen=True)
class PartRun(Generic[Batch]):
    """A prepared run."""

    config: PartTrainConfig
    folder: Path
    task: Task[Batch]

    def complete(self) -> Path:
        """Trains from the last checkpoint, or from the beginning, and writes the part's folder.

        Raises `FloatingPointError` if a gradient is not finite.
        """
        config, part, optim = self.config, self.task.part, self.config.optim
        optimizer = torch.optim.AdamW(
            [each for each in part.parameters() if each.requires_grad],
            lr=optim.lr,
            betas=(optim.beta1, optim.beta2),
            weight_decay=optim.weight_decay,
        )
        checkpoints = Checkpoints(self.folder / CHECKPOINTS, config.keep_checkpoints)
        restored = checkpoints.restore(part, optimizer)
        step = restored[0] if restored else 0
        with RunLog(self.folder, config.steps, step) as log:
            while step < config.steps:
                stop = min(config.steps, step + config.checkpoint_steps)
                self._train_until(stop, step, optimizer, log)
                step = stop
                checkpoints.save(step, part, optimizer, [])
                self._validate(step, log)
            part.load_state_dict(checkpoints.mean_weights(checkpoints.kept()))
            scores = self._validate(step, log)
        remove_unfinished(self.folder / "model")
        readme = self.task.readme(scores)
        save_part(self.folder / "model", part.eval(), readme, config.half_precision)
        return self.folder / "model"

    def _train_until(
        self, stop: int, first: int, optimizer: torch.optim.Optimizer, log: RunLog
    ) -> None:
        started, seconds, sums = time.perf_counter(), 0.0, dict[str, float]()
        self.task.part.train()
        for step in range(first, stop):
            batch = self.task.draw(step)
            losses = self._step(step, batch, optimizer)
            sums = {name: sums.get(name, 0.0) + loss for name, loss in losses.items()}
            seconds += self.task.seconds(batch)
            log.advance(losses["loss"], seconds / (time.perf_counter() - started))
        means = {name: value / (stop - first) for name, value in sums.items()}
        rate = self.config.optim.rate(stop - 1, self.config.steps)
        log.write("train", stop, **means, learning_rate=rate)
        shown = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
        log.print(f"step {stop}: {shown}")

    def _step(self, step: int, batch: Batch, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        optim = self.config.optim
        for group in optimizer.param_groups:
            group["lr"] = optim.rate(step, self.config.steps)
        losses = self.task.losses(batch, step)
        optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.task.part.parameters(), optim.clip_norm)
        if not norm.isfinite():
            raise FloatingPointError(f"The gradient of step {step + 1} is not finite.")
        optimizer.step()
        return {name: loss.item() for name, loss in losses.items()}

    def _validate(self, step: int, log: RunLog) -> Scores | None:
        self.task.part.eval()
        scores = self.task.validate()
        if scores is not None:
            log.write("dev", step, **scores._asdict())
            log.print(f"step {step}: {scores}")
        return scores
