"""Checkpoints of a run, for exact resume, and means of the last or the best ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from echostream.files import remove_unfinished, replacing
from echostream.training.batch import DatasetPosition
from echostream.training.checkpoint_file import (
    CheckpointError,
    check_like,
    read_checkpoint,
    read_optimizer,
    reason_of,
)
from echostream.training.selection import Selection

_NAME = re.compile(r"step-(\d+)\.pt")


class Checkpoints:
    """The checkpoints in a folder, `step-0001200.pt`; the last `keep` stay.

    With a `selection` the best `keep` of those that have been scored stay, and the newest, from
    which a run is resumed.

    A checkpoint has the weights, the optimizer, the step and the positions in the dataset (under
    the key `places`). It is written under a temporary name and renamed, so a killed run leaves the
    one before. Other files in the folder are not touched.
    """

    def __init__(self, folder: Path, keep: int, selection: Selection | None = None) -> None:
        self.folder = folder
        self.keep = keep
        self.selection = selection
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)  # of a killed run: the caller holds the folder's lock

    def paths(self) -> list[Path]:
        """All checkpoints, the oldest first."""
        return sorted(
            (path for path in self.folder.glob("step-*.pt") if _NAME.fullmatch(path.name)),
            key=step_of,
        )

    def kept(self) -> list[Path]:
        """The newest `keep`, or the best.

        One more is there if a run was killed before it removed the oldest.
        """
        return self._best(self.keep)

    def candidates(self) -> list[list[Path]]:
        """The groups of checkpoints, each oldest first, whose mean may become the model.

        Without a selection it is the one of `kept`. With one it is the best, the best two, and so
        on up to all that are kept: while the weights still move, the mean of many is worse than
        the best alone.
        """
        kept = self.kept()
        if self.selection is None:
            return [kept]
        return [self._best(count) for count in range(1, len(kept))] + [kept]

    def _best(self, count: int) -> list[Path]:
        paths = self.paths()
        if self.selection is None:
            return paths[-count:]
        best = self.selection.best(map(step_of, paths), count)
        return [path for path in paths if step_of(path) in best]

    def remove_old(self) -> None:
        """Removes all that are neither kept nor the newest."""
        kept = self.kept()
        for path in self.paths()[:-1]:
            if path not in kept:
                path.unlink()

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        positions: list[DatasetPosition],
    ) -> None:
        """Writes the checkpoint of a step and removes the oldest ones.

        Raises:
            FloatingPointError: if a weight is not finite; nothing is written.
            OSError: naming the file, if it cannot be written; those before stay.
        """
        weights = model.state_dict()
        for name, value in weights.items():
            if value.is_floating_point() and not value.isfinite().all():
                raise FloatingPointError(
                    f"`{name}` of the network is not finite after step {step}, which is not saved; "
                    "the last checkpoint is valid."
                )
        self.folder.mkdir(parents=True, exist_ok=True)  # it may have been removed
        path = self.folder / f"step-{step:07d}.pt"
        content = {
            "step": step,
            "model": weights,
            "optimizer": optimizer.state_dict(),
            "places": [list(position) for position in positions],
        }
        try:
            with replacing(path) as temporary:
                torch.save(content, temporary)
        except (OSError, RuntimeError) as error:  # PyTorch's writer raises RuntimeError
            raise OSError(
                f"{path} cannot be written: {reason_of(error, self.folder)}. The checkpoints "
                "before it stay, and the run resumes from the last one."
            ) from error
        self.remove_old()
        remove_unfinished(self.folder)

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[int, list[DatasetPosition]] | None:
        """Loads the newest checkpoint; its step and positions, or None if there is none.

        Raises:
            CheckpointError: naming the file, the reason and what to do, if it cannot be used; the
                network and the optimizer are then as before.
        """
        paths = self.paths()
        if not paths:
            return None
        try:
            content = read_checkpoint(paths[-1])
            if content.step != step_of(paths[-1]):
                raise CheckpointError(f"it is of step {content.step}")
            check_like(content.weights, model.state_dict())
            state = read_optimizer(content.optimizer, optimizer)
        except CheckpointError as error:
            before = f"from {paths[-2].name}" if len(paths) > 1 else "from the beginning"
            raise CheckpointError(
                f"{paths[-1]} cannot be used: {error}. Remove it, and the run resumes {before}."
            ) from error
        model.load_state_dict(content.weights)
        optimizer.load_state_dict(state)
        return content.step, [DatasetPosition(*position) for position in content.positions]

    def mean_weights(self, paths: Sequence[Path]) -> dict[str, Tensor]:
        """The mean of the weights of these checkpoints.

        Raises:
            FileNotFoundError: if there is none.
            CheckpointError: naming the file, if one cannot be used or is of another network.
        """
        if not paths:
            raise FileNotFoundError(f"There is no checkpoint in {self.folder}.")
        total: dict[str, Tensor] = {}
        for path in paths:
            try:
                weights = read_checkpoint(path).weights
                if total:
                    check_like(weights, total)
            except CheckpointError as error:
                raise CheckpointError(
                    f"{path} cannot be part of the mean: {error}. Remove it for the mean of the "
                    "others, or remove it and those after it to train these steps again."
                ) from error
            for name, value in weights.items():
                total[name] = total[name] + value.double() if name in total else value.double()
        return {name: (value / len(paths)).float() for name, value in total.items()}


def step_of(path: Path) -> int:
    """The step of a checkpoint, by the name of its file."""
    match = _NAME.fullmatch(path.name)
    assert match is not None, path
    return int(match[1])
