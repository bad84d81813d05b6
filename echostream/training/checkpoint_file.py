"""Validated reading of a checkpoint file: it may be cut off, foreign, or of another network."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from echostream.torch_file import UNREADABLE
from echostream.training.optimizer import moments_of

_KEYS = {"step": int, "model": Mapping, "optimizer": Mapping, "places": list}
_LOW_SPACE = 1 << 20  # bytes; a disk with less counts as full


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message gives the reason."""


class Content(NamedTuple):
    """The content of a checkpoint."""

    step: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    positions: list[list[int]]  # of the workers in the dataset


def read_checkpoint(path: Path) -> Content:
    """The content of a file whose keys, types and values are those of a checkpoint.

    Raises:
        CheckpointError: if it is cut off, damaged, of another kind, or holds NaN or infinity. A
            pickle that would run code is refused unread.
    """
    _check_archive(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = "it holds more than weights" if "weights_only" in str(error) else "it is damaged"
        raise CheckpointError(f"{reason} ({lines[0][:200]})") from error
    if not isinstance(found, Mapping):
        raise CheckpointError(f"it holds a {type(found).__name__} and not a checkpoint")
    for key, kind in _KEYS.items():
        if key not in found:
            raise CheckpointError(f"it has no `{key}`, so it is no checkpoint of a training here")
        if not isinstance(found[key], kind) or isinstance(found[key], bool):
            raise CheckpointError(
                f"its `{key}` must be {kind.__name__}, but is {type(found[key]).__name__}"
            )
    if found["step"] < 0:
        raise CheckpointError(f"its `step` is {found['step']}")
    _check_finite("model", found["model"])
    for position in found["places"]:
        if not (
            isinstance(position, list)
            and len(position) == 2
            and all(type(number) is int and number >= 0 for number in position)
        ):
            raise CheckpointError("its `places` must be pairs of numbers from 0 on")
    return Content(found["step"], dict(found["model"]), dict(found["optimizer"]), found["places"])


def check_like(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError unless both have the same names and shapes."""
    lacking, foreign = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if lacking or foreign:
        raise CheckpointError(
            f"it is of another network: {len(lacking)} weights are missing {lacking[:3]}, "
            f"{len(foreign)} are unknown {foreign[:3]}"
        )
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            raise CheckpointError(
                f"it is of another network: `{name}` must have shape {tuple(value.shape)}, "
                f"but has {tuple(found[name].shape)}"
            )
        if found[name].is_floating_point() != value.is_floating_point():
            raise CheckpointError(
                f"`{name}` of its `model` must be {value.dtype}, but is {found[name].dtype}"
            )


def read_optimizer(found: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimizer, if it fits this one; its options stay those of this one.

    Raises:
        CheckpointError: if the parameters are others, or a moment is missing, has another shape or
            is not finite. PyTorch compares the number of parameters only.
    """
    groups, state = found.get("param_groups"), found.get("state")
    if not isinstance(groups, list) or not isinstance(state, Mapping):
        raise CheckpointError("its `optimizer` has no `param_groups` or no `state`")
    own = optimizer.state_dict()["param_groups"]
    names = [group.get("params") if isinstance(group, Mapping) else None for group in groups]
    if names != [group["params"] for group in own]:
        raise CheckpointError("its `optimizer` is of other parameters")
    tensors, scalars = moments_of(optimizer)
    numbers = [number for group in own for number in group["params"]]
    if not state.keys() <= set(numbers):
        raise CheckpointError("its `optimizer` has moments of parameters that there are not")
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        if number not in state:  # a parameter without a gradient so far
            continue
        moments = state[number]
        if not isinstance(moments, Mapping) or moments.keys() != tensors | scalars:
            raise CheckpointError(
                f"its `optimizer` must have {sorted(tensors | scalars)} of each parameter, "
                f"but has others of parameter {number}"
            )
        _check_finite("optimizer", moments)
        for name, value in moments.items():
            if value.shape != (() if name in scalars else parameter.shape):
                raise CheckpointError(
                    f"`{name}` of parameter {number} in its `optimizer` must have the shape of the "
                    f"parameter, {tuple(parameter.shape)}, but has {tuple(value.shape)}"
                )
    return {"state": dict(state), "param_groups": own}


def reason_of(error: BaseException, folder: Path) -> str:
    """The reason why a file could not be written, which PyTorch's own error hides."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    if not folder.is_dir():
        return "the folder was removed"
    if shutil.disk_usage(folder).free < _LOW_SPACE:
        return "no space is left on the disk"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _check_archive(path: Path) -> None:
    """Raises CheckpointError unless the file is an uncompressed zip with valid check sums.

    A compressed one could need any amount of memory, and PyTorch does not compare the check sums.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            if any(record.external_attr for record in records):  # PyTorch reads no folder's bytes
                raise CheckpointError("it is damaged (one of its parts is marked as a folder)")
            if sum(record.file_size for record in records) > path.stat().st_size:
                raise CheckpointError("it is no checkpoint (its parts are larger than the file)")
            if damaged := archive.testzip():
                raise CheckpointError(f"it is damaged (the check sum of {damaged} is wrong)")
    except CheckpointError:
        raise
    except UNREADABLE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointError(f"it is cut off, damaged or no checkpoint ({reason})") from error


def _check_finite(what: str, tensors: Mapping[str, Any]) -> None:
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"`{name}` of its `{what}` is not a tensor")
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            raise CheckpointError(f"`{name}` of its `{what}` is not a plain tensor")
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(f"`{name}` of its `{what}` holds NaN or infinity")
