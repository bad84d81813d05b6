"""The training run: multi-task CTC, a look-ahead drawn for each batch, exact resume."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path

import torch

from echostream.config import ConfigError
from echostream.device import resolve_device
from echostream.files import describe, locked
from echostream.models.build import build_model
from echostream.models.skip_init import skip_init
from echostream.text.normalization import TextNormalization
from echostream.text.tokenizer import NUM_SPECIAL_IDS
from echostream.training.checkpoint import Checkpoints
from echostream.training.config import TrainConfig
from echostream.training.folder import CHECKPOINTS, RunFolder, check_run_config
from echostream.training.follower import follow
from echostream.training.initial import Initial, read_initial
from echostream.training.loader import explained
from echostream.training.prepare import prepare
from echostream.training.ranks import Ranks, joined, leave
from echostream.training.run import Run
from echostream.training.selection import Selection
from echostream.training.sources import Speech, open_sources, recorded_text
from echostream.training.trainer import Trainer


def train(config: TrainConfig, export_now: bool = False) -> Path:
    """Trains, or resumes a run; returns the model folder, `<output>/model`.

    With `export_now` no step is done: the model is that of the checkpoints of a run that was
    stopped, which can be resumed afterwards. Under torchrun each process calls this function.

    Checkpoints, the log and the model are in `config.output`. A killed run is resumed from its last
    checkpoint with the batch that would have come next. On a CPU and with the same number of
    threads the weights are then those of a run that was not killed, to the bit.

    Settings and tables are checked before anything slow begins.

    Raises:
        ConfigError: if the folder holds a run of another configuration, or a value is not possible;
            with `export_now`, if there is no checkpoint.
        BlockingIOError: if another process trains in the folder.
        OSError: naming the file that cannot be read or written.
        FloatingPointError: if more steps than `max_skipped_batches` are not finite.
        WorkerError: if a process that makes batches or another rank dies.
        MemoryError: if there is too little memory for a step.
    """
    if not config.output.strip():
        raise ConfigError("`output` must be the folder of the run, but is empty.")
    folder = Path(config.output)
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = resolve_device(name)
    text = recorded_text(config.data)
    speech, dev_speech = open_sources(config.data)
    with joined(device) as (ranks, device):
        ranks.slots(config.accumulate)  # raises if the ranks cannot share a step
        if config.threads:
            torch.set_num_threads(config.threads)
        try:
            if ranks.is_first:
                return _lead(config, speech, dev_speech, text, device, ranks, export_now)
            follow(config, speech, device, ranks)
        except RuntimeError as error:
            if (explanation := explained(error)) is None:
                raise
            raise explanation from error
        return folder / "model"


def _lead(
    config: TrainConfig,
    speech: Speech,
    dev_speech: Speech,
    text: TextNormalization | None,
    device: torch.device,
    ranks: Ranks,
    export_now: bool,
) -> Path:
    """Does on the first rank, or the only one, what is done once; it alone writes files."""
    folder = Path(config.output)
    begun = any((folder / CHECKPOINTS).glob("step-*.pt"))
    if export_now and not begun:
        raise ConfigError(f"{folder / CHECKPOINTS} has no checkpoint to make a model of.")
    initial = None if begun else read_initial(config)
    _check_network(config, initial)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"`output`: {describe(error)}") from error
    with ExitStack() as stack:
        # Batches are made in forks, which may outlive a training that is killed.
        lock = stack.enter_context(locked(folder, keep_in_forks=False))
        check_run_config(folder, config)
        torch.manual_seed(config.data.seed)
        prepared = prepare(config, speech, dev_speech, folder, initial)
        trainer = Trainer(build_model(prepared.model_config), config, device, ranks)
        selection = None
        if config.select.metric != "last":
            selection = Selection(config.select, folder / CHECKPOINTS)
        checkpoints = Checkpoints(folder / CHECKPOINTS, config.keep_checkpoints, selection)
        run_folder = RunFolder(folder, config, prepared, stack, lock)
        run = Run(config, run_folder, speech, prepared, trainer, checkpoints, initial, text)
        return run.complete(train=not export_now)


def _check_network(config: TrainConfig, initial: Initial | None) -> None:
    """Builds the network without weights, before the tokenizers are trained."""
    sizes = (NUM_SPECIAL_IDS + 1,) * 2 if initial is None else initial.vocabulary()
    smallest = dataclasses.replace(
        config.network, source_vocab_size=sizes[0], target_vocab_size=sizes[1]
    )
    try:
        with skip_init():
            network = build_model(smallest)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"`network`: {error}") from error
    if initial is not None:
        initial.apply(network)


if __name__ == "__main__":  # torchrun -m echostream.training.train CONFIG
    from echostream.training.command import main

    leave(main())
