"""Checks of the input of a network: shape, type, device and lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from echostream.ranges import shown


def check_frames(name: str, frames: Tensor, weight: Tensor, batch_size: int | None = None) -> None:
    """Raises `ValueError` unless `frames` is `(B, T, F)` and fits the first layer's `weight`.

    F, the dtype and the device are those of `weight (D, F, K)`.
    """
    if not isinstance(frames, Tensor):
        raise ValueError(f"`{name}` must be a tensor, but is {shown(type(frames))} instead.")
    wanted = ("B" if batch_size is None else batch_size, "T", weight.shape[1])
    if (
        frames.dim() != 3
        or frames.shape[2] != weight.shape[1]
        or frames.shape[0] < 1
        or batch_size not in (None, frames.shape[0])
    ):
        raise ValueError(
            f"`{name}` must have shape ({', '.join(map(str, wanted))}), "
            f"but has shape {tuple(frames.shape)} instead."
        )
    lenient = frames.is_floating_point() and _casts(frames.device.type)
    if frames.dtype != weight.dtype and not lenient:
        raise ValueError(
            f"`{name}` must be of {weight.dtype}, as the weights are, "
            f"but is of {frames.dtype} instead."
        )
    if frames.device != weight.device:
        raise ValueError(
            f"`{name}` must be on {weight.device}, as the weights are, "
            f"but is on {frames.device} instead."
        )


def _casts(device_type: str) -> bool:
    """Whether autocast is on for a device (cpu or cuda; others have none)."""
    if device_type not in ("cpu", "cuda"):
        return False
    try:
        return bool(torch.is_autocast_enabled(device_type))
    except TypeError:  # PyTorch before 2.4: one function for each device
        is_enabled = torch.is_autocast_cpu_enabled if device_type == "cpu" else None
        return bool(is_enabled() if is_enabled else torch.is_autocast_enabled())


def check_recordings(frames: Tensor, lengths: Tensor, weight: Tensor) -> None:
    """Raises `ValueError` unless `frames` is `(B, T, F)` and `lengths (B,)` is from 0 to T."""
    check_frames("src_tokens", frames, weight)
    if not isinstance(lengths, Tensor):
        raise ValueError(f"`src_lengths` must be a tensor, but is {shown(lengths)} instead.")
    if lengths.shape != frames.shape[:1] or lengths.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"`src_lengths` must be {len(frames)} whole numbers, one for each row of `src_tokens`, "
            f"but is {lengths.dtype} of shape {tuple(lengths.shape)} instead."
        )
    num_frames = frames.shape[1]
    if num_frames == 0 or int(lengths.min()) < 0 or int(lengths.max()) > num_frames:
        raise ValueError(
            f"`src_lengths` must be from 0 to the frames of `src_tokens`, of which there must be "
            f"one at least, but is {shown(lengths.tolist())} for {num_frames} frames."
        )
