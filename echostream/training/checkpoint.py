"""Checkpoints of a run: everything that is needed to go on exactly, and the mean of the last."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from echostream.files import replacing
from echostream.training.batch import Place


class Checkpoints:
    """The checkpoints in a folder, `step-0001200.pt`; the last `keep` stay.

    A checkpoint has the weights, the optimizer, the step and the places of the feed. It is written
    under a temporary name and renamed, so a kill leaves the one before.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        folder.mkdir(parents=True, exist_ok=True)

    def paths(self) -> list[Path]:
        """All checkpoints, the oldest first."""
        return sorted(self.folder.glob("step-*.pt"))

    def save(
        self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, places: list[Place]
    ) -> None:
        """Writes the checkpoint of a step and removes the oldest ones."""
        path = self.folder / f"step-{step:07d}.pt"
        content = {
            "step": step,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "places": [list(place) for place in places],
        }
        with replacing(path) as temporary:
            torch.save(content, temporary)
        for old in [*self.paths()[: -self.keep], *self.folder.glob(".tmp-*")]:  # of a killed run
            old.unlink()

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[int, list[Place]] | None:
        """Loads the newest checkpoint; its step and places, or None if there is none.

        Raises:
            ValueError: naming the file, if it is damaged.
        """
        paths = self.paths()
        if not paths:
            return None
        content = _load(paths[-1])
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        return int(content["step"]), [Place(*place) for place in content["places"]]

    def mean_weights(self) -> dict[str, Tensor]:
        """The mean of the weights of all checkpoints kept.

        Raises:
            FileNotFoundError: if there is none.
        """
        paths = self.paths()
        if not paths:
            raise FileNotFoundError(f"There is no checkpoint in {self.folder}.")
        total: dict[str, Tensor] = {}
        for path in paths:
            for name, value in _load(path)["model"].items():
                total[name] = total[name] + value.double() if name in total else value.double()
        return {name: (value / len(paths)).float() for name, value in total.items()}


def _load(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is damaged; without it, the run goes on from the checkpoint before. ({error})"
        ) from error
    return content
