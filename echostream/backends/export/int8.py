"""Quantisation of the matrix products to int8, with dynamic per-row input scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

# Without VNNI, pairs of products are added in 16 bits, which 2 x 255 x 64 just fits.
WEIGHT_MAX = 63
INPUT_MAX = 127  # above and below the zero point 128

_CONSTANTS: dict[str, NDArray[Any]] = {
    "int8.last_axis": np.array([-1], np.int64),
    "int8.input_max": np.array(INPUT_MAX, np.float32),
    "int8.smallest": np.array(1e-30, np.float32),  # for a row of zeros
    "int8.one": np.array(1, np.float32),
    "int8.zero_point": np.array(128, np.uint8),
}


def quantised(path: Path) -> ModelProto:
    """The graph of a file with its linear layers in int8; the rest stays float32.

    Weights: static per-output-channel scales. Activations: dynamic per-row (per-frame) scales. (The
    usual dynamic quantisation has one scale for all rows; then the other streams of a batch, NaN
    among them, and the size of the chunks would change the output of a stream.)
    """
    proto = onnx.load(path)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    nodes, added = list[NodeProto](), dict[str, TensorProto]()
    for node in proto.graph.node:
        if node.op_type == "Gemm" and node.input[1] in weights:
            assert helper.get_node_attr_value(node, "transB") == 1
            weight, bias = node.input[1], node.input[2] if len(node.input) > 2 else None
            if weight not in added:
                integers, scale = _quantise(numpy_helper.to_array(weights[weight]))
                added[weight] = numpy_helper.from_array(integers, f"{weight}.int8")
                added[f"{weight}.scale"] = numpy_helper.from_array(scale, f"{weight}.scale")
            nodes += _linear(node.input[0], weight, bias, node.output[0])
        else:
            nodes.append(_copy(node))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for name, tensor in weights.items() if name in used]
    constants = [numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items()]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend([*kept, *added.values(), *constants])
    return proto


def _quantise(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """`(N, K)` to integers `(K, N)` and per-column scales `(1, N)`, divided by `INPUT_MAX`."""
    largest = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-30)  # (N, 1)
    integers = np.round(weight / largest * WEIGHT_MAX).astype(np.int8)
    scale = (largest / (WEIGHT_MAX * INPUT_MAX)).astype(np.float32)
    return np.ascontiguousarray(integers.T), scale.T


def _linear(x: str, weight: str, bias: str | None, y: str) -> list[NodeProto]:
    """`x (R, K)` to `y (R, N)`."""
    steps = [
        ("Abs", [x], "abs"),
        ("ReduceMax", [f"{y}.abs", "int8.last_axis"], "max"),  # (R, 1)
        ("Max", [f"{y}.max", "int8.smallest"], "largest"),
        ("Div", ["int8.input_max", f"{y}.largest"], "factor"),
        ("Mul", [x, f"{y}.factor"], "scaled"),
        ("QuantizeLinear", [f"{y}.scaled", "int8.one", "int8.zero_point"], "integers"),
        ("MatMulInteger", [f"{y}.integers", f"{weight}.int8", "int8.zero_point"], "sums"),
        ("Cast", [f"{y}.sums"], "floats"),
        ("Mul", [f"{y}.floats", f"{y}.largest"], "rows"),
        ("Mul", [f"{y}.rows", f"{weight}.scale"], "columns"),
    ]
    if bias is not None:
        steps.append(("Add", [f"{y}.columns", bias], "biased"))
    nodes = [
        helper.make_node(kind, inputs, [f"{y}.{name}"], name=f"{y}.{name}")
        for kind, inputs, name in steps
    ]
    nodes[7].attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    nodes[-1].output[0] = y
    return nodes


def _copy(node: NodeProto) -> NodeProto:
    copied = NodeProto()
    copied.CopyFrom(node)
    return copied
