"""Weights on disk: safetensors files, checked against the network that they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from echostream.files import sha256_of
from echostream.models.skip_init import skip_init
from echostream.ranges import shown

CONFIG = "config.yaml"
WEIGHTS = "model.safetensors"
_LFS_POINTER = b"version https://git-lfs"

Found = TypeVar("Found")


class ModelFolderError(ValueError):
    """A model folder that cannot be used as it is; the message names the file."""


def save_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Writes a safetensors file.

    Raises:
        FloatingPointError: if a weight is not finite; nothing is written.
        OSError: if that fails, as on a full disk.
    """
    for name, value in weights.items():
        if not _is_finite(value):
            raise FloatingPointError(f"`{name}` holds NaN or infinity, so nothing is written.")
    try:
        save_file(weights, path)
    except SafetensorError as error:  # which has no other base than Exception
        raise OSError(f"cannot be written: {error}") from error


def read_file(read: Callable[[Path], Found], file: Path) -> Found:
    """`read(file)`, with its errors raised as `ModelFolderError`."""
    try:
        return read(file)
    except OSError as error:
        raise ModelFolderError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # names the file, except for a UnicodeDecodeError
        damaged = f"{file} is damaged: {error}."
        raise ModelFolderError(str(error) if str(file) in str(error) else damaged) from error


def check_graph(graph: Path) -> None:
    """Raises `ModelFolderError` if an ONNX graph is of other weights than those beside it.

    A graph without an intact seal is left to ONNX Runtime's loader, which says what is wrong.
    """
    from echostream.backends.onnx.seal import read_seal  # an extra

    seal, weights = read_file(read_seal, graph), graph.with_name(WEIGHTS)
    if seal and seal.is_intact and seal.weights_sha256 != read_file(sha256_of, weights):
        raise ModelFolderError(
            f"{graph} is of other weights than those of {WEIGHTS}: export the model again."
        )


@contextmanager
def building(folder: Path) -> Iterator[None]:
    """Context for building modules whose weights are about to be loaded."""
    try:
        with skip_init():
            yield
    except (
        RuntimeError,
        MemoryError,
    ) as error:  # RuntimeError is PyTorch's for no memory
        raise ModelFolderError(
            f"{folder / CONFIG} is of a network that is too large for this machine."
        ) from error


def read_weights(
    file: Path, wanted: Mapping[str, Tensor], prefix: str = "", half_precision: bool = False
) -> dict[str, Tensor]:
    """The tensors of a file whose names begin with `prefix`: those of `wanted`, no others.

    With `half_precision` a float16 of the file becomes a float32 if that is wanted.
    """
    refuse_lfs_pointer(file)
    try:
        with safe_open(file, framework="pt") as weights:
            names = [name for name in weights.keys() if name.startswith(prefix)]  # noqa: SIM118
            _check_names(file, set(names), wanted.keys())
            found = {name: weights.get_tensor(name) for name in names}
    except (SafetensorError, OSError, RuntimeError, MemoryError) as error:
        why = str(error).partition("\n")[0][:200]
        raise ModelFolderError(f"{file} is not a readable safetensors file: {why}.") from error
    for key, value in found.items():
        shape = tuple(wanted[key].shape)
        half = (value.dtype, wanted[key].dtype) == (torch.float16, torch.float32)
        if half and half_precision:
            found[key] = value = value.float()
        if value.shape != shape or value.dtype != wanted[key].dtype:
            raise ModelFolderError(
                f"{file}: `{key}` must have shape {shape} and {wanted[key].dtype} in the network "
                f"of {CONFIG}, but has {tuple(value.shape)} and {value.dtype} instead."
            )
        if not _is_finite(value):
            raise ModelFolderError(f"{file}: `{key}` holds NaN or infinity.")
    return found


def _is_finite(value: Tensor) -> bool:
    """Whether no number is NaN or infinite.

    The extremes are enough: NaN propagates, and this is 5 times faster than a check of each.
    """
    if not value.is_floating_point() or not value.numel():
        return True
    return bool(torch.stack(value.aminmax()).isfinite().all())


def refuse_lfs_pointer(file: Path) -> None:
    """Raises `ModelFolderError` for the pointer to a file that Git LFS has not fetched."""
    try:
        with open(file, "rb") as opened:
            is_pointer = opened.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError as error:
        raise ModelFolderError(f"{file} cannot be read: {error.strerror}.") from error
    if is_pointer:
        raise ModelFolderError(f"{file} is a Git LFS pointer: fetch the file with `git lfs pull`.")


def _check_names(file: Path, found: Set[str], wanted: Set[str]) -> None:
    lacking, foreign = sorted(wanted - found), sorted(found - wanted)
    if lacking or foreign:
        raise ModelFolderError(
            f"{file} is not of the network in {CONFIG}: "
            f"{len(lacking)} weights are missing {shown(lacking[:3])}, "
            f"{len(foreign)} are unknown {shown(foreign[:3])}."
        )
