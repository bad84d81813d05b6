"""The step whose tensors keep their memory, and the table of streams, as far as a CPU shows."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_model import TINY_ENCODER
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.fixtures import QUICK, make_distinct, opened
from benchmarks.gpu import BATCHES, FixedStep, measure, table
from benchmarks.streams import STEP_MS
from echostream import ZipformerEncoder
from echostream.models.build import build_encoder
from echostream.streaming.state import named_leaves


@pytest.fixture(scope="module")
def encoder() -> ZipformerEncoder:
    torch.manual_seed(0)
    made = build_encoder(TINY_ENCODER).eval()
    make_distinct(made)
    return made


def test_a_step_in_place_gives_what_the_step_gives(encoder: ZipformerEncoder) -> None:
    batch, num_steps = 3, 12  # 3.84 s: beyond the left context and three memory segments
    inputs = torch.randn(num_steps, batch, 32, 80)
    step = FixedStep(encoder, batch)
    addresses = [leaf.data_ptr() for _, leaf in named_leaves(step.state)]
    state = encoder.init_state(batch, 0)
    with torch.inference_mode():
        for x in inputs:
            wanted, state = encoder.step(x, state)
            step.x.copy_(x)
            step.run()
            assert step.y is not None
            assert torch.equal(step.y, wanted)
            for (name, leaf), (_, other) in zip(
                named_leaves(step.state), named_leaves(state), strict=True
            ):
                assert torch.equal(leaf, other), name
    assert [leaf.data_ptr() for _, leaf in named_leaves(step.state)] == addresses


def test_a_step_in_bf16_stays_in_bf16_and_finite(encoder: ZipformerEncoder) -> None:
    step = FixedStep(copy.deepcopy(encoder).to(torch.bfloat16), 2)
    with torch.inference_mode():
        for _ in range(5):
            step.x.normal_()
            step.run()
    assert step.y is not None
    assert step.y.dtype == torch.bfloat16
    assert step.y.isfinite().all()


class Elsewhere(TorchDispatchMode):
    """While it is open, notes the operations whose results are not on a device."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = device
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.device.type != self._device:
                self.found.append(str(func))
        return result


def test_a_step_leaves_nothing_to_be_copied_from_the_host(encoder: ZipformerEncoder) -> None:
    """A CUDA graph could not be captured; device "meta" shows it without a GPU."""
    step = FixedStep(copy.deepcopy(encoder).to("meta"), 2)
    with torch.inference_mode(), Elsewhere("meta") as elsewhere:
        step.run()
        step.run()
    assert elsewhere.found == []
    assert step.y is not None
    assert step.y.device.type == "meta"


def test_the_table_ends_where_real_time_does() -> None:
    def time(batch: int) -> tuple[float, float]:
        return 8.0 * batch, 4.0 * batch  # 80 streams take 320 ms

    *rows, best = table(time, "a GPU")
    assert [row.value for row in rows] == [4.0 * batch for batch in BATCHES if batch <= 128]
    assert all(row.ratio == 0.5 for row in rows)
    assert best.value == 64
    assert "80 streams' worth" in rows[0].note


def test_a_batch_that_does_not_fit_or_cannot_be_captured_is_named() -> None:
    def full(batch: int) -> tuple[float, float]:
        if batch > 4:
            raise torch.cuda.OutOfMemoryError("no room")
        return 1.0, 1.0

    def broken(batch: int) -> tuple[float, float]:
        raise RuntimeError("not while capturing")

    *_, missing, best = table(full, "a GPU")
    assert missing.value is None
    assert "does not fit (no room)" in missing.note
    assert best.value == 4
    missing, best = table(broken, "a GPU")
    assert "not captured (not while capturing)" in missing.note
    assert best.value == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_is_printed() -> None:
    with opened(QUICK) as bench:
        (figure,) = measure(bench)
    assert figure.value is None
    assert figure.note == "skipped: no GPU"
    assert str(STEP_MS) in figure.name
