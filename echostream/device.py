"""Device names of users and SimulEval, and PyTorch's threads after a fork."""

from __future__ import annotations

import logging
import os

import torch

logger = logging.getLogger(__name__)

_computes_in: int | None = None  # the process in which models are loaded and run


def resolve_device(name: str | torch.device) -> torch.device:
    """The device for `cpu`, `cuda`, `cuda:1` or `gpu` (StreamSpeech's name for `cuda`).

    Falls back to the CPU with a warning if there is no such CUDA device. Raises `ValueError` for
    any other name.
    """
    wanted = str(name)
    try:
        device = torch.device("cuda" if wanted == "gpu" else wanted)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"`device` must be cpu, cuda, cuda:N or gpu, but is {wanted!r} instead.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        logger.warning("`device` is %s, but this machine has none: the CPU is used.", wanted)
        return torch.device("cpu")
    return device


def memory_nbytes(device: torch.device) -> int | None:
    """Bytes of the memory of a device, in use or not; None where the system does not report it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return None


def adapt_to_fork() -> None:
    """Sets one thread, with a warning, in a process forked after a model was loaded or run.

    PyTorch's OpenMP threads do not survive a fork, and a computation with more than one thread
    would hang. Called before every large computation.
    """
    global _computes_in
    process = os.getpid()
    if process == _computes_in:
        return
    was_forked, _computes_in = _computes_in is not None, process
    if was_forked and (num_threads := torch.get_num_threads()) > 1:
        torch.set_num_threads(1)
        logger.warning(
            "process %d was forked after a model was loaded, and PyTorch cannot use its %d threads "
            "here: one thread computes. Start processes with multiprocessing's `spawn`, or call "
            "`torch.set_num_threads(1)` before the fork.",
            *(process, num_threads),
        )
