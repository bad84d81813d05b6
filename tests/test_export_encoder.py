"""An encoder alone, exported to files of its own, steps as in PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from onnx_case import assert_same

from echostream import ZipformerEncoder
from echostream.export import export_encoder
from echostream.onnx import OnnxEncoder

pytestmark = pytest.mark.slow  # to trace


@pytest.fixture(scope="module")
def encoder() -> ZipformerEncoder:
    torch.manual_seed(1)
    encoder = ZipformerEncoder(
        input_dim=6, embed_dim=8, num_heads=2, ffn_dim=16,
        num_layers_per_stack=1, memory_size=2, conv_kernel=3, left_context=8,
    )  # fmt: skip
    with torch.no_grad():  # zeros at the start would hide errors
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder.eval()


@pytest.fixture(scope="module")
def graphs(encoder: ZipformerEncoder, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return export_encoder(encoder, tmp_path_factory.mktemp("encoder") / "small.onnx", int8=True)


def test_it_is_three_files_that_need_nothing_else(graphs: list[Path]) -> None:
    assert [path.name for path in graphs] == ["small.onnx", "small.int8.onnx"]
    names = {file.name for file in graphs[0].parent.iterdir()}
    assert names == {"small.onnx", "small.int8.onnx", "small.safetensors"}


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_a_step_is_that_of_pytorch(
    encoder: ZipformerEncoder, graphs: list[Path], look_ahead: int
) -> None:
    """The geometry (layers, widths, contexts) is read from the graph alone."""
    graph = OnnxEncoder(graphs[0])
    ours, theirs = encoder.init_state(2, look_ahead), graph.init_state(2, look_ahead)
    assert_same(theirs, ours, "start")
    with torch.inference_mode():
        for groups in (2, 1, 5, 9, 2, 12, 3):
            x = torch.randn(2, 16 * groups, 6)
            wanted, ours = encoder.step(x, ours)
            found, theirs = graph.step(x, theirs)
            assert_same((found, theirs), (wanted, ours), f"{groups} groups")


def test_int8_steps_nearly_alike(encoder: ZipformerEncoder, graphs: list[Path]) -> None:
    graph, x = OnnxEncoder(graphs[1]), torch.randn(1, 64, 6)
    with torch.inference_mode():
        wanted, _ = encoder.step(x, encoder.init_state(1))
    found, _ = graph.step(x, graph.init_state(1))
    assert 1e-4 < (found - wanted).std() / wanted.std() < 0.1
