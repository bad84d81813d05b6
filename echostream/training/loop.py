"""The training run: multi-task CTC, a look-ahead drawn for each batch, exact resume."""

from __future__ import annotations

from pathlib import Path

import torch

from echostream.device import resolve_device
from echostream.models.build import build_model
from echostream.training.checkpoint import Checkpoints
from echostream.training.claim import claim
from echostream.training.config import TrainConfig
from echostream.training.prepare import prepare
from echostream.training.run import Run
from echostream.training.sources import open_sources
from echostream.training.trainer import Trainer


def train(config: TrainConfig) -> Path:
    """Runs, or goes on with, a training; returns the model folder it writes, `<output>/model`.

    Checkpoints, the log and the model are in `config.output`. A run that was killed goes on from
    its last checkpoint with the batch that would have come next. On a CPU and with the same number
    of threads the weights are then those of a run that was not killed, to the bit.

    Raises:
        ConfigError: if the folder holds a run of another configuration.
        FloatingPointError: if a gradient is not finite.
    """
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, config)
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.data.seed)
    speech, dev_speech = open_sources(config.data)
    prepared = prepare(config, speech, dev_speech, folder)
    trainer = Trainer(build_model(prepared.model_config), config, resolve_device(name))
    checkpoints = Checkpoints(folder / "checkpoints", config.keep_checkpoints)
    return Run(config, folder, speech, prepared, trainer, checkpoints).complete()
