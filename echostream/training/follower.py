"""The ranks of a training after the first: they train on their share, and write nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from echostream.models.build import build_model
from echostream.training.batch import DatasetPosition
from echostream.training.config import TrainConfig
from echostream.training.prepare import Prepared
from echostream.training.ranks import Ranks
from echostream.training.sources import Speech
from echostream.training.steps import opened_steps
from echostream.training.trainer import Trainer


@dataclass(frozen=True)
class Start:
    """What the other ranks need before the first step; the weights follow after it."""

    prepared: Prepared
    step: int
    positions: list[DatasetPosition]
    optimizer: dict[str, Any]


def follow(config: TrainConfig, speech: Speech, device: torch.device, ranks: Ranks) -> None:
    """Trains beside the first rank, from the same step to the last one."""
    start: Start | None = ranks.share(None)
    if start is None:  # nothing is to be trained
        return
    trainer = Trainer(build_model(start.prepared.model_config), config, device, ranks)
    trainer.optimizer.load_state_dict(start.optimizer)
    step, make = start.step, start.prepared.make
    with opened_steps(trainer, speech, make, step, start.positions) as steps:
        while step < config.steps:
            stop = min(config.steps, step + config.checkpoint_steps)
            for number in range(step, stop):
                steps.do(number)
            steps.positions()
            step = stop
