"""The processes of a training that torchrun has started: one for each GPU, or one alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from echostream.config import ConfigError

Value = TypeVar("Value")

_PATIENCE = timedelta(hours=2)  # the other ranks wait while the first prepares or validates


@dataclass(frozen=True)
class Ranks:
    """This process, `rank`, of the `size` that train together.

    A step has `accumulate` batches, whatever the number of ranks: they share them. So the course of
    a training does not depend on that number.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that prepares, validates and writes all files."""
        return self.rank == 0

    def slots(self, accumulate: int) -> range:
        """The numbers of the batches of a step that this rank trains on.

        Raises:
            ConfigError: if the ranks cannot share them equally.
        """
        if accumulate % self.size:
            raise ConfigError(
                "`accumulate` must be a multiple of the number of ranks, which is "
                f"{self.size}, but is {accumulate} instead: it is the number of batches in a step, "
                "which the ranks share."
            )
        each = accumulate // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all ranks."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def share(self, value: Value) -> Value:
        """The value of the first rank, on all of them."""
        if self.size == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values)
        shared: Value = values[0]
        return shared

    def gather(self, value: Value) -> list[Value]:
        """The values of all ranks, on all of them."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Ranks, torch.device]]:
    """The ranks, and the device of this one, while the block lasts.

    The environment is that of torchrun: `WORLD_SIZE`, `RANK`, `LOCAL_RANK`, and where the ranks
    meet. Without it the process is alone. NCCL connects GPUs, gloo CPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks(), device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), size), device
    finally:
        dist.destroy_process_group()


def leave(status: int) -> NoReturn:
    """Ends the process of a rank at once, without the finalization of Python.

    DDP keeps the threads of a process group that is destroyed (PyTorch 2.13). A thread that needs
    the interpreter during the finalization can abort the process, after all its work is done.
    """
    sys.stdout.flush()
    os._exit(status)
