"""The step in ONNX Runtime is the step in PyTorch, and passes the laws by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from contract import Streaming, check_contract
from onnx_case import assert_same, logits_of, noise, run_chunks
from torch import Tensor, nn

from echostream.backends.protocol import Network
from echostream.model_folder import load_model
from echostream.session.translator import MAX_GROUPS_PER_STEP
from echostream.streaming import GROUP_FRAMES, named_leaves


@pytest.fixture(scope="module")
def pytorch(exported: Path) -> Network:
    return load_model(exported).network


@pytest.fixture(scope="module")
def graph(exported: Path) -> Network:
    return load_model(exported, backend="onnx").network


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_outputs_and_states_of_a_long_stream_are_those_of_pytorch(
    pytorch: Network, graph: Network, look_ahead: int, batch: int
) -> None:
    num_groups = 48  # the left context is 4 groups, the memory bank 16
    x = noise(batch, num_groups)
    lengths = torch.tensor([num_groups - 2, num_groups - 5, 11][:batch]) * GROUP_FRAMES - 3
    valid = torch.arange(x.shape[1]) < lengths[:, None]
    chunks = (1, 2, 3, 4, 5)
    wanted = run_chunks(pytorch, x, chunks, look_ahead, valid)
    found = run_chunks(graph, x, chunks, look_ahead, valid)
    for index, (ours, theirs) in enumerate(zip(wanted, found, strict=True)):
        assert_same(theirs, ours, f"chunk {index}")


@pytest.mark.parametrize("num_groups", [8, 9, 17, MAX_GROUPS_PER_STEP, MAX_GROUPS_PER_STEP + 1])
def test_a_chunk_may_be_longer_than_a_memory_segment(
    pytorch: Network, graph: Network, num_groups: int
) -> None:
    x = noise(2, num_groups + 2)
    chunks = (1, num_groups, 1)
    for ours, theirs in zip(
        run_chunks(pytorch, x, chunks, 1), run_chunks(graph, x, chunks, 1), strict=True
    ):
        assert_same(theirs, ours, f"{num_groups} groups")


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_the_graph_obeys_the_laws(graph: Network, look_ahead: int) -> None:
    def step(x: Tensor, valid: Tensor, state: object) -> tuple[Tensor, object]:
        output, state = graph.step(x, state, valid)  # type: ignore[arg-type]
        return torch.cat([output.asr_logits, output.st_logits], dim=2), state

    def forward(x: Tensor, valid: Tensor) -> Tensor:
        """The recording as one chunk, and the frames delayed by the look-ahead as another."""
        y, state = step(x, valid, graph.init_state(len(x), look_ahead))
        if not look_ahead:
            return y
        closing = x.new_zeros(len(x), GROUP_FRAMES * look_ahead, x.shape[2])
        rest, _ = step(closing, torch.zeros(closing.shape[:2], dtype=torch.bool), state)
        return torch.cat([y, rest], dim=1)[:, 4 * look_ahead :]

    case = Streaming(
        nn.Module(), 80, GROUP_FRAMES, 4, forward,
        lambda batch_size: graph.init_state(batch_size, look_ahead), step,
        context=12, look_ahead=look_ahead, dtype=torch.float32, tolerance=1e-4,
    )  # fmt: skip
    check_contract(case, (1, 3, 2, 9))


def test_a_run_changes_nothing_that_was_given_and_nothing_that_was_returned(
    graph: Network,
) -> None:
    x, valid = noise(2, 4), torch.ones(2, 4 * GROUP_FRAMES, dtype=torch.bool)
    *_, (_, state) = run_chunks(graph, noise(2, 12, seed=1), (3,), 1)
    given = (x, valid, state)
    before = [leaf.clone() for _, leaf in named_leaves(given)]
    first = graph.step(x, state, valid)
    kept = [leaf.clone() for _, leaf in named_leaves(first)]
    graph.step(noise(2, 4, seed=2), first[1], valid)  # as large, so that memory might be reused
    again = graph.step(x, state, valid)
    for (_, leaf), old in zip(named_leaves(given), before, strict=True):
        assert torch.equal(leaf, old)
    for (name, one), copy, (_, two) in zip(
        named_leaves(first), kept, named_leaves(again), strict=True
    ):
        assert torch.equal(one, copy), f"{name} was overwritten by a later run"
        assert torch.equal(one, two), f"{name} is not a function of what was given"


def test_tensors_that_do_not_lie_in_one_piece_are_taken_as_they_read(graph: Network) -> None:
    x, valid = noise(2, 3), torch.ones(2, 3 * GROUP_FRAMES, dtype=torch.bool)
    state = graph.init_state(2, 0)
    scattered = x.transpose(1, 2).contiguous().transpose(1, 2)
    assert not scattered.is_contiguous()
    wanted, found = graph.step(x, state, valid), graph.step(scattered, state, valid)
    assert_same(found, wanted, "scattered")


@pytest.mark.parametrize("look_ahead", [0, 2])
def test_a_stream_may_go_from_one_back_end_to_the_other(
    pytorch: Network, graph: Network, look_ahead: int
) -> None:
    x, valid = noise(1, 2), torch.ones(1, 2 * GROUP_FRAMES, dtype=torch.bool)
    *_, (_, state) = run_chunks(pytorch, noise(1, 20, seed=3), (2,), look_ahead)
    ours = theirs = state
    for index in range(6):
        wanted, ours = pytorch.step(x + index, ours, valid)
        network = graph if index % 2 == 0 else pytorch
        found, theirs = network.step(x + index, theirs, valid)
        assert_same((found, theirs), (wanted, ours), f"step {index}")
        assert torch.equal(found.asr_logits.argmax(-1), wanted.asr_logits.argmax(-1))


def test_the_logits_differ_from_chunk_to_chunk(graph: Network) -> None:
    logits = logits_of(graph, noise(1, 6), (2,))
    assert logits.std(dim=1).min() > 0.01  # or the comparisons above would see nothing
