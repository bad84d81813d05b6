"""An encoder alone, exported to files of its own, steps as in PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from onnx_case import assert_same

from benchmarks.fixtures import QUICK, opened
from echostream import ZipformerEncoder
from echostream.backends.onnx import OnnxEncoder

pytestmark = pytest.mark.slow  # to trace


@pytest.fixture(scope="module")
def encoder() -> ZipformerEncoder:
    with opened(QUICK) as bench:  # no weight of it is zero, which would hide errors
        return bench.encoder


@pytest.fixture(scope="module")
def graphs(exported_encoder: Path) -> list[Path]:
    return [exported_encoder / "onnx.onnx", exported_encoder / "onnx-int8.onnx"]


def test_it_is_three_files_that_need_nothing_else(graphs: list[Path]) -> None:
    names = {file.name for file in graphs[0].parent.iterdir()}
    assert names == {"onnx.onnx", "onnx-int8.onnx", "onnx.safetensors"}


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
            x = torch.randn(2, 16 * groups, 80)
            wanted, ours = encoder.step(x, ours)
            found, theirs = graph.step(x, theirs)
            assert_same((found, theirs), (wanted, ours), f"{groups} groups")


def test_int8_steps_nearly_alike(encoder: ZipformerEncoder, graphs: list[Path]) -> None:
    graph, x = OnnxEncoder(graphs[1]), torch.randn(1, 64, 80)
    with torch.inference_mode():
        wanted, _ = encoder.step(x, encoder.init_state(1))
    found, _ = graph.step(x, graph.init_state(1))
    assert 1e-4 < (found - wanted).std() / wanted.std() < 0.1
