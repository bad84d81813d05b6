"""Streams in real time on one GPU: bf16, and the whole step as one CUDA graph.

A graph replays the same kernels on the same memory, so the state has one set of tensors, into which
each step copies the new state. `FixedStep` does so, without a GPU too; only `capture` needs one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.figures import Figure, skipped
from benchmarks.fixtures import Bench
from benchmarks.streams import STEP_MS
from echostream.streaming import GROUP_FRAMES, GROUP_MS, map_state
from echostream.streaming.state import named_leaves

BATCHES = (1, 4, 16, 64, 128, 256, 512, 1024)
_WARM_STEPS = 3  # before a capture; kernels are chosen in the first ones
_STEPS = 50
NAME = f"GPU, bf16, CUDA graph, steps of {STEP_MS} ms"


class FixedStep:
    """A step whose input, output and state keep their memory.

    Args:
        module: an encoder, on the device and in the type of the measurement.
        batch: streams B.
        step_ms: audio of a step, a multiple of 160.
    """

    def __init__(self, module: Any, batch: int, step_ms: int = STEP_MS) -> None:
        weight = next(module.parameters())
        frames = step_ms // GROUP_MS * GROUP_FRAMES
        self._module = module
        self.x = torch.zeros(
            batch, frames, module.input_dim, device=weight.device, dtype=weight.dtype
        )
        # A new state may share memory between its tensors; each needs its own here.
        self.state = map_state(torch.clone, module.init_state(batch, 0))
        self.y: Tensor | None = None

    def run(self) -> None:
        """One step of `x`: writes the output to `y` and the new state to `state`, in place."""
        # New tensors (masks) are made on the device: a graph cannot copy from the host.
        with self.x.device:
            y, state = self._module.step(self.x, self.state)
        old = [leaf for _, leaf in named_leaves(self.state)]
        ours = {leaf.untyped_storage().data_ptr() for leaf in old}
        # Tensors that share memory with the old state are copied first.
        new = [
            leaf.clone() if leaf.untyped_storage().data_ptr() in ours else leaf
            for _, leaf in named_leaves(state)
        ]
        for target, leaf in zip(old, new, strict=True):
            target.copy_(leaf)
        if self.y is None:
            self.y = torch.empty_like(y)
        self.y.copy_(y)


def capture(step: FixedStep) -> Callable[[], None]:
    """The step as one CUDA graph; calling it runs the step."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_STEPS):
            step.run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step.run()
    return graph.replay


def milliseconds_on_gpu(run: Callable[[], None], num_steps: int = _STEPS) -> float:
    """Mean time of a step on the device, over consecutive steps."""
    for _ in range(_WARM_STEPS):
        run()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(num_steps):
        run()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / num_steps


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    if not torch.cuda.is_available():
        return [skipped(NAME, "ms", "no GPU")]
    encoder = copy.deepcopy(bench.encoder).to("cuda", torch.bfloat16)
    where = torch.cuda.get_device_name()
    return list(table(lambda batch: _time(encoder, batch), where))


def _time(encoder: Any, batch: int) -> tuple[float, float | None]:
    """Time of a step in ms, kernel by kernel and as a graph; None if there is no graph of it."""
    eager = milliseconds_on_gpu(FixedStep(encoder, batch).run)
    step = FixedStep(encoder, batch)
    step.run()
    return eager, milliseconds_on_gpu(capture(step))


def table(time: Callable[[int], tuple[float, float | None]], where: str) -> Iterator[Figure]:
    """A figure for each number of streams, and the largest that kept up with real time.

    `time` gives the time of a step for a number of streams, without a graph and with one. It
    stops at the first batch that is slower than real time or does not fit.
    """
    best = 0
    for batch in BATCHES:
        name = f"{NAME}, {batch} streams at once"
        try:
            eager, graph = time(batch)
        except torch.cuda.OutOfMemoryError as error:
            yield skipped(name, "ms", f"does not fit ({error})")
            break
        except RuntimeError as error:
            yield skipped(name, "ms", f"not captured ({error})")
            break
        ms = eager if graph is None else graph
        room = f"{batch * STEP_MS / ms:,.0f} streams' worth of audio in real time, {where}"
        yield Figure(name, ms, "ms", eager, "the same without a graph", note=room)
        if ms > STEP_MS:
            break
        best = batch
    yield Figure(
        "GPU: most streams at once, of those tried, that keep up with real time",
        float(best),
        "streams",
        note=f"tried {', '.join(map(str, BATCHES))}; {where}",
    )
