"""A stream as bytes: taken out of one batch, it goes on in another, in another process.

The bytes are a file of safetensors: the tensors of the stream's row, its arrays, and the entry
`about` with everything else as JSON.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from echostream.config import to_dict
from echostream.model_folder import Model
from echostream.session_config import SessionConfig
from echostream.streaming import map_state
from echostream.streaming.state import State, named_leaves

FORMAT = 1
_ABOUT, _ROW, _ARRAY = "about", "row.", "array."
_REFERENCE = "__array__"  # the key of a JSON object that stands for an array


class SnapshotError(ValueError):
    """Bytes that are no stream, or one of another model, other options or another format."""


def fingerprint(model: Model) -> str:
    """Equal for models that continue each other's streams, in hexadecimal.

    It is of configuration, tokenizers, statistics, and the weights or the exported graphs.
    """
    sha = hashlib.sha256()
    sha.update(json.dumps(to_dict(model.config), sort_keys=True).encode())
    for tokenizer in (model.source_tokenizer, model.target_tokenizer):
        sha.update(tokenizer.to_bytes())
    for statistics in (model.cmvn.mean, model.cmvn.std):
        sha.update(np.ascontiguousarray(statistics).tobytes())
    parts: list[Any] = [model.network]
    if model.speech is not None:
        parts += [model.speech.unit_decoder, model.speech.refiner, model.speech.vocoder]
    for part in parts:
        sha.update(type(part).__name__.encode())
        if isinstance(part, nn.Module):
            for name, tensor in sorted(part.state_dict().items()):
                sha.update(name.encode())
                sha.update(tensor.detach().cpu().numpy().tobytes())
        elif part is not None:
            sha.update(part.checksum.encode())
    return sha.hexdigest()


def pack(
    values: Mapping[str, Any], row: tuple[Any, ...], config: SessionConfig, model: str
) -> bytes:
    """A stream as bytes: its values, the row of its tensors, its options and its model."""
    arrays: dict[str, NDArray[Any]] = {}
    about = {
        "format": FORMAT,
        "model": model,
        "config": dataclasses.asdict(config),
        "values": _without_arrays(values, arrays),
    }
    text = np.frombuffer(json.dumps(about).encode(), np.uint8).copy()
    tensors = {_ABOUT: torch.from_numpy(text)}
    for name, leaf in named_leaves(row):
        tensors[_ROW + name] = leaf.detach().cpu().clone()
    for name, array in arrays.items():
        tensors[_ARRAY + name] = torch.from_numpy(np.ascontiguousarray(array).copy())
    return save(tensors)


def unpack(
    data: bytes, template: State, config: SessionConfig, model: str
) -> tuple[Mapping[str, Any], State]:
    """The values of a stream, and its row, in the structure of `template`.

    Raises SnapshotError for anything that `pack` has not made of such a stream.
    """
    try:
        tensors = load(data)
        about = json.loads(tensors[_ABOUT].numpy().tobytes())
        found = about["format"]
        if found != FORMAT:
            raise SnapshotError(f"the stream has the format {found}, but this is {FORMAT}.")
        if about["model"] != model:
            raise SnapshotError("the stream is of another model.")
        if about["config"] != json.loads(json.dumps(dataclasses.asdict(config))):
            raise SnapshotError(
                f"the stream has the options {about['config']}, but the batch has {config}."
            )
        arrays = {
            name.removeprefix(_ARRAY): tensor.numpy()
            for name, tensor in tensors.items()
            if name.startswith(_ARRAY)
        }
        values = _with_arrays(about["values"], arrays)
        row = iter([_fitting(name, leaf, tensors) for name, leaf in named_leaves(template)])
    except SnapshotError:
        raise
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise SnapshotError(f"these bytes are no stream: {error}") from error
    return values, map_state(lambda _: next(row), template)


def _fitting(name: str, leaf: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    tensor = tensors[_ROW + name]
    if tensor.shape != leaf.shape or tensor.dtype != leaf.dtype:
        raise SnapshotError(
            f"`{name}` must be {tuple(leaf.shape)} {leaf.dtype}, but is {tuple(tensor.shape)} "
            f"{tensor.dtype} instead."
        )
    return tensor.to(leaf.device)


def _without_arrays(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """A value as JSON has it; its arrays are put aside under their numbers."""
    if isinstance(value, np.ndarray):
        name = str(len(arrays))
        arrays[name] = value
        return {_REFERENCE: name}
    if isinstance(value, Mapping):
        return {key: _without_arrays(entry, arrays) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(entry, arrays) for entry in value]
    return value


def _with_arrays(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, list):
        return [_with_arrays(entry, arrays) for entry in value]
    if isinstance(value, dict):
        if set(value) == {_REFERENCE}:
            return arrays[value[_REFERENCE]]
        return {key: _with_arrays(entry, arrays) for key, entry in value.items()}
    return value
