"""Guards of a run: batches that cannot be trained on, heads that write nothing, a full disk."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from echostream.config import ConfigError
from echostream.files import describe, make_folder, replacing
from echostream.training.batch import Batch

SKIPPED = "skipped"
_PREFIX = "step-"

logger = logging.getLogger(__name__)


class SkippedBatches:
    """The batches whose loss or gradient was not finite, saved in `skipped/` of the run's folder.

    Those of all steps so far count, also of the time before a run was stopped; those of steps that
    are done again do not, and their files are removed.
    """

    def __init__(self, folder: Path, most: int, step: int) -> None:
        self.folder = folder / SKIPPED
        self.most = most
        for path in self._files():
            if int(path.stem[len(_PREFIX) :]) >= step:
                path.unlink()

    def _files(self) -> list[Path]:
        """Those of this class: a user may keep others in the folder."""
        paths = self.folder.glob(f"{_PREFIX}*.pt")
        return [path for path in paths if path.stem[len(_PREFIX) :].isdecimal()]

    def add(self, step: int, batches: list[Batch], reason: str) -> None:
        """Saves the batches of a step, by the names of the fields of `Batch`, and logs a warning.

        Raises:
            FloatingPointError: if there are more than may be.
            OSError: if the file cannot be written.
        """
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{_PREFIX}{step:07d}.pt"
        with replacing(path) as temporary:
            torch.save(
                [{**b._asdict(), "next_position": [*b.next_position]} for b in batches], temporary
            )
        count = len(self._files())
        if count > self.most:
            raise FloatingPointError(
                f"{reason}; {count} steps had a loss or a gradient that is not finite, and "
                f"`max_skipped_batches` is {self.most}. Their batches are in {self.folder}. Lower "
                "`optim.lr`, look for the recordings that the batches share, or raise "
                "`max_skipped_batches` and resume."
            )
        logger.warning("%s; the step is skipped, and its batch saved in %s", reason, path)


class BlankAlarm:
    """Warns of a head that wrote only blanks from one checkpoint to the next.

    There is one warning when that begins, and none until the head has written something again.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._blank = {head: False for head, weight in weights.items() if weight > 0}

    def check(self, first: int, last: int, ratios: Mapping[str, float]) -> None:
        """`ratios` has the tokens written per token of the reference, by head."""
        for head, was_blank in self._blank.items():
            self._blank[head] = ratios[head] == 0
            if self._blank[head] and not was_blank:
                logger.warning(
                    "the %s head wrote only blanks from step %d to %d. That is usual at the "
                    "beginning of a training; if it lasts, the loss weights, the learning rate or "
                    "the vocabulary do not suit the data (docs/train.md).",
                    head.upper(),
                    first,
                    last,
                )


def check_output(folder: Path, network: nn.Module, num_checkpoints: int) -> None:
    """Reserves the space of a checkpoint for a moment, before the first step.

    A disk that is full, a quota, a limit on the size of files or a folder that must not be written
    to is then found now, and not after hours. `num_checkpoints` will be there at once; a checkpoint
    has the weights and two moments of each.

    Raises:
        ConfigError: naming the folder, with the space that it needs.
    """
    size = 3 * sum(each.numel() * each.element_size() for each in network.state_dict().values())
    probe = folder / f".tmp-{os.getpid()}-space"
    try:
        if (folder.parent / "model").exists():
            make_folder(folder.parent / "model")
        with probe.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise ConfigError(
            f"`output`: a checkpoint of {size / 1e6:.1f} MB cannot be written: {describe(error)}"
            + (f" ({folder})" if error.filename is None else "")
        ) from error
    finally:
        probe.unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    if free < num_checkpoints * size:
        raise ConfigError(
            f"`output`: {num_checkpoints} checkpoints of {size / 1e6:.1f} MB are to be written, "
            f"but only {free / 1e6:.1f} MB are free in {folder}. Free some space, or lower "
            "`keep_checkpoints`."
        )
