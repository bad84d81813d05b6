"""The matrix products (GEMM) of the step of an exported encoder alone.

Their time is the least that ONNX Runtime needs for so few rows; only the rest of the step can be
saved. Same weights, same numbers of rows, one run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from echostream.models.zipformer import STACK_GROUPS
from echostream.streaming import GROUP_MS, GROUP_OUTPUTS


def gemms_alone(path: Path, step_ms: int, rows: int | None = None) -> Callable[[], object]:
    """A call that multiplies with each weight of the encoder at `path` once, on one thread.

    Inputs have as many rows as in a step of `step_ms`, or all have `rows`.
    """
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes, inputs, outputs, feed = [], [], [], {}
    for count, node in enumerate(node for node in graph.node if node.op_type == "Gemm"):
        num_outputs, num_inputs = weights[node.input[1]].dims
        size = rows or _rows(node.input[1], step_ms // GROUP_MS)
        x, y = f"x{size}x{num_inputs}", f"y{count}"
        if x not in feed:
            feed[x] = np.ones((size, num_inputs), np.float32)
            inputs.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, feed[x].shape))
        outputs.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, (size, num_outputs)))
        nodes.append(helper.make_node("Gemm", [x, *node.input[1:]], [y], transB=1))
    used = {name for node in nodes for name in node.input} & set(weights)
    product_graph = helper.make_graph(
        nodes, "products", inputs, outputs, [weights[name] for name in sorted(used)]
    )
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(product_graph, opset_imports=[opset], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # In the folder of the weights, to which the graph refers.
    with tempfile.NamedTemporaryFile(suffix=".onnx", dir=path.parent) as file:
        onnx.save(model, file.name)
        session = onnxruntime.InferenceSession(
            file.name, options, providers=["CPUExecutionProvider"]
        )
    return lambda: session.run(None, feed)


def _rows(weight: str, num_groups: int) -> int:
    """Rows of the input of a weight in a step: the frames of its stack, or of the memory bank."""
    _, _, stack = weight.partition("stacks.")
    frames = STACK_GROUPS[int(stack.split(".")[0])] if stack else GROUP_OUTPUTS
    return frames * num_groups
