"""The dataset in worker processes, and errors of these processes."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, IterableDataset

from echostream.training.batch import Batch
from echostream.training.dataset import BatchDataset
from echostream.voices.espeak import EspeakError

NICENESS = 10
_SIGNAL_SECONDS = 1.0  # for the signal of a worker that has died
# Errors of the dataset; PyTorch would wrap them into the text of a traceback.
_EXPECTED = (ValueError, OSError, EspeakError, MemoryError)
_DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)(?: is killed by signal: (\w+))?")
# PyTorch's words for a rank that has ended, of gloo and of NCCL.
_RANK_ENDED = re.compile(
    r"Connection (closed by|reset by) peer|gloo/transport|ProcessGroup|NCCL|Connection refused"
)
_NO_MEMORY = "DefaultCPUAllocator: can't allocate memory"


class WorkerError(RuntimeError):
    """A process that makes batches has died; the message gives the signal."""


@dataclass(frozen=True)
class _Failed:
    """Sent by a worker instead of a batch."""

    error: Exception


class _Guarded(IterableDataset["Batch | _Failed"]):
    """A dataset that ends with its error as the last item."""

    def __init__(self, dataset: BatchDataset) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator[Batch | _Failed]:
        try:
            yield from self.dataset
        except _EXPECTED as error:
            yield _Failed(error)


def load_batches(dataset: BatchDataset, num_workers: int) -> Generator[Batch, None, None]:
    """The batches of a dataset, made in `num_workers` processes; with 0, in this one.

    Their number is lowered until each has as many lanes of the dataset. The caller closes the
    generator, which ends the processes.

    Raises:
        ValueError, OSError, EspeakError, MemoryError: raised by the dataset.
        WorkerError: if a process has died.
    """
    while num_workers and len(dataset.turn) % num_workers:
        num_workers -= 1
    loader = DataLoader(
        _Guarded(dataset),
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=8 if num_workers else None,
        worker_init_fn=_start_worker if num_workers else None,
    )
    items = iter(loader)
    while True:
        try:
            item = next(items)
        except (OSError, EOFError) as error:  # the process ended while it sent the batch
            raise _wait_for_death(error) from error
        if isinstance(item, _Failed):
            raise item.error
        yield item


def _wait_for_death(error: Exception) -> WorkerError:
    """The error for a process that has ended, with its signal if PyTorch reports it in time."""
    try:
        time.sleep(_SIGNAL_SECONDS)  # PyTorch's handler of SIGCHLD raises in it
    except RuntimeError as report:
        if isinstance(explanation := explained(report), WorkerError):
            return explanation
        raise
    return _death(f"has ended ({error})")


def explained(error: RuntimeError) -> WorkerError | MemoryError | None:
    """The error for a worker or a rank that died, or for too little memory; None for another.

    PyTorch raises the former from a signal handler, at any point of the training.
    """
    if isinstance(error, torch.cuda.OutOfMemoryError) or _NO_MEMORY in str(error):
        return MemoryError(
            "there is not enough memory for a step; lower `data.batch_seconds`, or cut recordings "
            "that are longer than it."
        )
    match = _DIED.search(str(error))
    if match is None and _RANK_ENDED.search(str(error)):
        return WorkerError(
            "another rank of the training has ended, and says why, or cannot be reached "
            f"({(str(error).splitlines() or [''])[0][:200]})."
        )
    if match is None:
        return None
    how = f"was killed by the signal {match[2]}" if match[2] else "has ended"
    return _death(f"(pid {match[1].strip()}) {how}")


def _death(how: str) -> WorkerError:
    return WorkerError(
        f"a process that makes batches {how}: the system may be out of memory (lower "
        "`data.num_workers`, `data.block_size` or `data.reuse`), or someone ended it."
    )


def _start_worker(worker: int) -> None:
    endings = [signal.SIGINT, signal.SIGTERM]
    # The worker is nearly always ahead of the training. Where they share the cores it gets only the
    # time that the training leaves; while the training waits for it, that is all of it.
    if sys.platform != "win32":
        os.nice(NICENESS)
        endings.append(signal.SIGHUP)
    # numpy has threads in its BLAS only, which the workers do not call.
    torch.set_num_threads(1)
    # Ctrl-C and a SIGTERM to the process group reach the workers too. They have nothing to save,
    # and PyTorch reports any status other than 0 as an error.
    for number in endings:
        signal.signal(number, lambda *_: os._exit(0))
