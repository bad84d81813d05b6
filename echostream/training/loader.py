"""The feed in processes of its own, and what happens when one of them cannot go on."""

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

from echostream.data.synthetic.espeak import EspeakError
from echostream.training.batch import Batch
from echostream.training.dataset import Feed

NICENESS = 10
_NEWS_SECONDS = 1.0
# What the making of batches may end with; PyTorch would wrap it into the text of a traceback.
_EXPECTED = (ValueError, OSError, EspeakError, MemoryError)
_DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)(?: is killed by signal: (\w+))?")
_NO_MEMORY = "DefaultCPUAllocator: can't allocate memory"


class WorkerError(RuntimeError):
    """A process that makes batches has died; the message says how."""


@dataclass(frozen=True)
class _Failed:
    """Goes from a process to the training in place of a batch."""

    error: Exception


class _Guarded(IterableDataset["Batch | _Failed"]):
    """A feed that ends with its error as the last item."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    def __iter__(self) -> Iterator[Batch | _Failed]:
        try:
            yield from self.feed
        except _EXPECTED as error:
            yield _Failed(error)


def load_batches(feed: Feed, num_workers: int) -> Generator[Batch, None, None]:
    """The batches of a feed, made in `num_workers` processes; with 0, in this one.

    To be closed, or used up: the processes end with it.

    Raises:
        ValueError, OSError, EspeakError, MemoryError: what the feed raised.
        WorkerError: if a process has died.
    """
    loader = DataLoader(
        _Guarded(feed),
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=8 if num_workers else None,
        worker_init_fn=_start_worker if num_workers else None,
    )
    items = iter(loader)
    while True:
        try:
            item = next(items)
        except (OSError, EOFError) as error:  # the batch was in the hands of a process that is gone
            raise _wait_for_death(error) from error
        if isinstance(item, _Failed):
            raise item.error
        yield item


def _wait_for_death(error: Exception) -> WorkerError:
    """The error for a process that is gone, with how it died, if the system says so soon."""
    try:
        time.sleep(_NEWS_SECONDS)  # PyTorch's handler of SIGCHLD raises in it
    except RuntimeError as news:
        if isinstance(meaning := explained(news), WorkerError):
            return meaning
        raise
    return _death(f"has ended ({error})")


def explained(error: RuntimeError) -> WorkerError | MemoryError | None:
    """What `error` means if it is a process of the loader that died, or memory that is not there.

    PyTorch raises the first wherever the training is at that moment.
    """
    if isinstance(error, torch.cuda.OutOfMemoryError) or _NO_MEMORY in str(error):
        return MemoryError(
            "there is not enough memory for a step; lower `data.batch_seconds`, or cut recordings "
            "that are longer than it."
        )
    match = _DIED.search(str(error))
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
    # The feed is nearly always ahead. Where it shares the cores with the training it should take
    # the time that is left over; if the training has to wait for it, that is all the time.
    if sys.platform != "win32":
        os.nice(NICENESS)
        endings.append(signal.SIGHUP)
    # Nothing here calls numpy's BLAS, the one part of numpy that has threads.
    torch.set_num_threads(1)
    # Ctrl-C and a SIGTERM to the process group reach the workers too. They have nothing to save,
    # and a status other than 0 would make an error of what the training ends in peace.
    for number in endings:
        signal.signal(number, lambda *_: os._exit(0))
