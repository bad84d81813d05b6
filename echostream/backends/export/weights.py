"""References from an ONNX graph to weights in a safetensors file, instead of a copy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

_PREFIX = "module."  # of the wrapper that is traced


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
