"""The ranks of a training as processes of their own, with the environment of torchrun."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import torch

PATIENCE = 120  # seconds


def run_ranks(size: int, function: Callable[..., object], *arguments: Any) -> list[int | None]:
    """Calls `function(rank, *arguments)` in each of `size` processes; their exit statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_run_rank, args=(rank, size, port, function, arguments))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
    return [process.exitcode for process in processes]


def _run_rank(
    rank: int, size: int, port: int, function: Callable[..., object], arguments: tuple[Any, ...]
) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)  # those of the parent do not survive the fork
    function(rank, *arguments)
