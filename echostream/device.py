"""The name of a device, as users and SimulEval write it, to a `torch.device`."""

from __future__ import annotations

import logging

import torch

logger = logging.getLogger(__name__)


def resolve_device(name: str | torch.device) -> torch.device:
    """`cpu`, `cuda`, `cuda:1` or `gpu` (StreamSpeech's word for `cuda`) to a device.

    Where there is no CUDA device the CPU is taken instead, with a warning. Raises `ValueError` for
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
