"""The folder of a run: it belongs to one configuration, and is restored if it is removed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from echostream.config import ConfigError, load_config, to_dict
from echostream.files import LOCK, holds_lock, locked, remove_unfinished, write_whole
from echostream.model_folder import CMVN, SOURCE_SPM, TARGET_SPM
from echostream.training.config import TrainConfig
from echostream.training.part_config import PartTrainConfig
from echostream.training.prepare import Prepared

CONFIG = "train.yaml"
CHECKPOINTS = "checkpoints"

# What may be other when a run is resumed, and what follows. All else must be as it was.
MAY_CHANGE = {
    "output": "it is the folder itself, which may have been moved",
    "steps": "the learning rate of the steps to come follows from the new number; if so many are "
    "done, the model is written",
    "checkpoint_steps": "from the next checkpoint on",
    "validate_steps": "from the next checkpoint on",
    "keep_checkpoints": "more are kept from the next checkpoint on",
    "select.metric": "those that were removed before do not come back",
    "select.look_ahead": "as `select.metric`",
    "max_skipped_batches": "those so far count",
    "data.num_workers": "the order of the data stays that of the number at the first step",
    "precision": "from the next step on",
    "threads": "the weights differ in the last bits",
    "device": "as `threads`",
}

logger = logging.getLogger(__name__)


def check_run_config(folder: Path, config: TrainConfig | PartTrainConfig) -> None:
    """Writes the configuration of the run, or compares it with that of the run in the folder.

    A key of `MAY_CHANGE` may differ: the folder is then that of the new configuration. The caller
    holds the lock of the folder; unfinished files of killed runs are removed. A folder with nothing
    but the configuration is of a run that was refused before its first step: it takes another one.

    Raises:
        ConfigError: naming the first key that differs.
    """
    remove_unfinished(folder)
    path = folder / CONFIG
    is_begun = any(file.name not in (CONFIG, LOCK) for file in folder.iterdir())
    if is_begun and path.exists():
        there, here = (dict(_flatten(to_dict(c))) for c in (_load_like(config, path), config))
        changed = [key for key in here if there[key] != here[key]]
        for key in changed:
            if key not in MAY_CHANGE:
                raise ConfigError(
                    f"{path} is of another run: `{key}` is {there[key]!r} there and {here[key]!r} "
                    "here. Give another `output`, or remove the folder."
                )
        for key in changed:
            if key != "output":
                logger.warning(
                    "`%s` was %r and is %r: %s", key, there[key], here[key], MAY_CHANGE[key]
                )
        if set(changed) <= {"output"}:
            return
    write_whole(path, yaml.safe_dump(to_dict(config), sort_keys=False))


def _load_like(config: TrainConfig | PartTrainConfig, path: Path) -> TrainConfig | PartTrainConfig:
    """The configuration in a file, which must be of the class of another one."""
    try:
        return load_config(type(config), path)
    except ConfigError as error:
        raise ConfigError(
            f"{error} Perhaps the folder is of a run of another kind: give another `output`."
        ) from error


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@dataclass
class RunFolder:
    """A folder that is locked for this run; `stack` holds the lock until the run ends."""

    path: Path
    config: TrainConfig
    prepared: Prepared
    stack: ExitStack
    lock: int

    def restore(self) -> None:
        """Writes the files again that were removed, so that the training so far is not lost.

        Raises:
            BlockingIOError: if another run has begun in the folder that was removed.
            OSError: if the folder cannot be made.
        """
        if not holds_lock(self.path, self.lock):
            self.lock = self.stack.enter_context(locked(self.path, keep_in_forks=False))
        removed = [
            name
            for name in (CONFIG, SOURCE_SPM, TARGET_SPM, CMVN, CHECKPOINTS)
            if not (self.path / name).exists()
        ]
        if not removed:
            return
        logger.warning(
            "%s was removed while the training ran; it is made anew, without the checkpoints "
            "before this step.",
            self.path if len(removed) > 1 else self.path / removed[0],
        )
        check_run_config(self.path, self.config)
        (self.path / CHECKPOINTS).mkdir(exist_ok=True)
        for name, tokenizer in (
            (SOURCE_SPM, self.prepared.source_tokenizer),
            (TARGET_SPM, self.prepared.target_tokenizer),
        ):
            if name in removed:
                write_whole(self.path / name, tokenizer.to_bytes())
        if CMVN in removed:
            self.prepared.cmvn.save(self.path / CMVN)
