"""What the configurations of the trainings of unit decoder, refiner and vocoder have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from echostream.config import ConfigError
from echostream.ranges import make_plain
from echostream.training.check_values import check_positive, check_values


@dataclass(frozen=True)
class AdamWConfig:
    """AdamW with a linear warm-up and a cosine decay to zero."""

    lr: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.98
    weight_decay: float = 0.01
    warmup_steps: int = 100
    clip_norm: float = 2.0

    def __post_init__(self) -> None:
        make_plain(self)
        check_values(self, "optim.", 0, "beta1", "beta2", most=0.9999)
        check_values(self, "optim.", 0, "lr", "weight_decay", "warmup_steps", most=math.inf)
        check_positive(self, "optim.", "clip_norm", most=math.inf)

    def rate(self, step: int, steps: int) -> float:
        """A linear rise over the warm-up, then half a cosine down to zero at the last step."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        share = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return self.lr * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True, kw_only=True)
class PartTrainConfig:
    """A training run of a part of a speaking model."""

    KIND: ClassVar[str]

    output: str
    steps: int
    kind: str
    optim: AdamWConfig = AdamWConfig()
    checkpoint_steps: int = 200
    keep_checkpoints: int = 1  # the weights of the model are the mean of these
    threads: int = 0  # of PyTorch; 0 leaves their number unchanged
    half_precision: bool = False  # whether the model is written in float16, half the size

    def __post_init__(self) -> None:
        make_plain(self)
        if self.kind != self.KIND:
            raise ConfigError(f"`kind` must be {self.KIND}, but is {self.kind[:80]!r} instead.")
        if not self.output.strip():
            raise ConfigError("`output` must be the folder of the run, but is empty.")
        check_values(self, "", 1, "steps", "checkpoint_steps", "keep_checkpoints")
        check_values(self, "", 0, "threads", most=1024)


@dataclass(frozen=True, kw_only=True)
class UnitDataConfig:
    """The tables of `echostream units extract`, with the units and the ends of the words."""

    train_tsv: str
    dev_tsv: str
    text_model: str  # folder of the model whose target tokenizer divides the words
    units: str | None = None  # folder of the unit model, if the units are of one
    batch_size: int = 16  # texts
    seed: int = 1

    def __post_init__(self) -> None:
        make_plain(self)
        check_values(self, "data.", 1, "batch_size", most=4096)
        check_values(self, "data.", 0, "seed", most=10**12)
