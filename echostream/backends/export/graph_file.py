"""An ONNX graph on disk: sealed, and with references to a safetensors file for its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from echostream._version import __version__
from echostream.backends.onnx import METADATA
from echostream.backends.onnx.seal import UNSEALED, sealed
from echostream.config import to_dict
from echostream.files import sha256_of

_PREFIX = "module."  # of the wrapper that is traced


def write_graph(path: Path, proto: ModelProto, kind: str, config: Any, weights: Path) -> None:
    """Writes a graph that refers to a file of weights beside it.

    Kind, configuration, digests and versions are in the metadata, as JSON under one key.
    """
    refer_to(proto, weights)
    about = {
        "kind": kind,
        "config": to_dict(config),
        "weights_sha256": sha256_of(weights),
        "graph_sha256": UNSEALED,
        "echostream": __version__,
        "torch": torch.__version__,
    }
    helper.set_model_props(proto, {METADATA: json.dumps(about)})
    path.write_bytes(sealed(proto.SerializeToString()))


def refer_to(proto: ModelProto, weights: Path) -> None:
    """Makes every initializer that equals a tensor of `weights` refer to it, as external data.

    The file must be in the folder of the graph. External data in ONNX is a file, an offset and a
    length, and a safetensors file stores each tensor as contiguous bytes.
    """
    data = np.memmap(weights, mode="r")
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")  # after the header's size and header
    header = json.loads(data[8:start].tobytes())
    for tensor in proto.graph.initializer:
        entry = header.get(tensor.name.removeprefix(_PREFIX))
        if entry is None or tuple(entry["shape"]) != tuple(tensor.dims):
            continue
        first, last = entry["data_offsets"]
        content = numpy_helper.to_array(tensor).tobytes()
        if data[start + first : start + last].tobytes() != content:
            continue
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", weights.name),
            ("offset", start + first),
            ("length", last - first),
        ):
            field = tensor.external_data.add()
            field.key, field.value = key, str(value)
