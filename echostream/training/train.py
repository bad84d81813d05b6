"""The training run: multi-task CTC, a look-ahead drawn for each batch, exact resume."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path

import torch

from echostream.config import ConfigError
from echostream.device import resolve_device
from echostream.files import locked
from echostream.models.build import build_model
from echostream.models.skip_init import without_weights
from echostream.text.tokenizer import NUM_SPECIAL_IDS
from echostream.training.checkpoint import Checkpoints
from echostream.training.config import TrainConfig
from echostream.training.folder import CHECKPOINTS, RunFolder
from echostream.training.prepare import prepare
from echostream.training.run import Run
from echostream.training.run_config import claim
from echostream.training.sources import open_sources
from echostream.training.trainer import Trainer


def train(config: TrainConfig) -> Path:
    """Runs, or goes on with, a training; returns the model folder it writes, `<output>/model`.

    Checkpoints, the log and the model are in `config.output`. A run that was killed goes on from
    its last checkpoint with the batch that would have come next. On a CPU and with the same number
    of threads the weights are then those of a run that was not killed, to the bit.

    All that can be checked is checked before anything slow begins.

    Raises:
        ConfigError: if the folder holds a run of another configuration, or a value cannot be.
        BlockingIOError: if another process trains in the folder.
        OSError: naming what cannot be read or written.
        FloatingPointError: if a gradient is not finite.
        WorkerError: if a process that makes batches dies.
    """
    if not config.output.strip():
        raise ConfigError("`output` must be the folder of the run, but is empty.")
    folder = Path(config.output)
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = resolve_device(name)
    _check_network(config)
    speech, dev_speech = open_sources(config.data)
    with ExitStack() as stack:
        # Batches are made in forks, which may outlive a training that is killed.
        lock = stack.enter_context(locked(folder, keep_in_forks=False))
        claim(folder, config)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.data.seed)
        prepared = prepare(config, speech, dev_speech, folder)
        trainer = Trainer(build_model(prepared.model_config), config, device)
        checkpoints = Checkpoints(folder / CHECKPOINTS, config.keep_checkpoints)
        place = RunFolder(folder, config, prepared, stack, lock)
        return Run(config, place, speech, prepared, trainer, checkpoints).complete()


def _check_network(config: TrainConfig) -> None:
    """Builds the network for nothing, before the tokenizers that it is made for are trained."""
    size = NUM_SPECIAL_IDS + 1
    smallest = dataclasses.replace(config.network, source_vocab_size=size, target_vocab_size=size)
    try:
        with without_weights():
            build_model(smallest)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"`network`: {error}") from error
