"""Dynamic quantisation: matrices of 8-bit integers, a scale a column, inputs quantised as met."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantType, quantize_dynamic

from echostream.export.quiet import quiet


def quantised(path: Path) -> ModelProto:
    """The graph of a file with its matrix products in int8; all else stays float32.

    Weights have 7 bits: with 8, processors without VNNI overflow the 16 bits in which they add
    pairs of products.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        target = Path(folder) / "int8.onnx"
        quantize_dynamic(
            path,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        proto = onnx.load(target)
    del proto.metadata_props[:]
    proto.metadata_props.extend(onnx.load(path, load_external_data=False).metadata_props)
    return proto
