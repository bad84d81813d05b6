"""In int8, too, neither its neighbours nor the cut into chunks change a stream."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx_case import logits_of, noise

from echostream.backends.protocol import Network
from echostream.model_folder import load_model


@pytest.fixture(scope="module")
def graph(exported: Path) -> Network:
    return load_model(exported, backend="onnx-int8").network


@pytest.mark.parametrize("look_ahead", [0, 2])
@pytest.mark.parametrize("neighbour", [torch.nan, torch.inf, 100.0, 0.0])
def test_a_stream_is_the_same_to_the_bit_whatever_its_neighbours_are(
    graph: Network, neighbour: float, look_ahead: int
) -> None:
    x = noise(3, 24)
    alone = logits_of(graph, x[1:2], (2, 3), look_ahead)
    x[0] *= neighbour
    x[2] = neighbour
    beside = logits_of(graph, x, (2, 3), look_ahead)[1:2]
    assert torch.equal(beside, alone)


def test_the_cut_into_chunks_changes_no_more_than_a_rounding(graph: Network) -> None:
    """Sums of float32 that differ in the last bit may, rarely, round to different integers."""
    x = noise(1, 40)
    whole = logits_of(graph, x, (40,))
    for chunks in ((1,), (2,), (1, 3, 2), (9,)):
        off = (logits_of(graph, x, chunks) - whole).abs().amax(dim=2)[0] / whole.std()  # (T,)
        assert off[:4].max() < 1e-5  # nothing has been rounded otherwise yet
        assert off.max() < 0.3


def test_int8_is_close_to_float32(exported: Path, graph: Network) -> None:
    x = noise(2, 40)
    wanted = logits_of(load_model(exported, backend="onnx").network, x, (2,))
    found = logits_of(graph, x, (2,))
    error = (found - wanted).std() / wanted.std()
    assert 1e-4 < error < 0.05  # and it is not float32


def test_a_row_of_zeros_stays_finite(graph: Network) -> None:
    assert logits_of(graph, torch.zeros(1, 160, 80), (2,)).isfinite().all()


def test_every_linear_layer_is_in_integers_that_need_no_vnni(exported: Path) -> None:
    proto = onnx.load(exported / "step.int8.onnx")
    whole = onnx.load(exported / "step.onnx", load_external_data=False)
    kinds = [node.op_type for node in proto.graph.node]
    assert "Gemm" not in kinds
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    products = [node for node in proto.graph.node if node.op_type == "MatMulInteger"]
    assert len(products) == [node.op_type for node in whole.graph.node].count("Gemm") > 20
    for node in products:
        values = onnx.numpy_helper.to_array(weights[node.input[1]])
        # Pairs of products with inputs of 8 bits are added in 16 where there is no VNNI.
        assert values.dtype == "int8" and abs(values.astype(int)).max() <= 64
