"""One step for many streams at once, time per stream, against its arithmetic."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figures import Figure, Unavailable, at_most, skipped
from benchmarks.fixtures import NAMES, Bench
from benchmarks.hardware import GemmBound
from benchmarks.step import WARM_S
from benchmarks.streams import STEP_MS, FeatureStream, count_flops
from benchmarks.timing import take_turns

MAX_OF_ARITHMETIC = 2.5


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    batch = bench.scale.batch
    gemm = GemmBound()
    calls: dict[str, Callable[[], object]] = {"multiply": gemm.multiply}
    missing: dict[str, Unavailable] = {}
    backends = ("onnx", "torch")
    for backend in backends:
        try:
            stream = FeatureStream(bench.encoder_of(backend), batch=batch)
        except Unavailable as error:
            missing[backend] = error
            continue
        stream.advance_to(min(WARM_S, 2))
        calls[backend] = stream.step
    times = take_turns(calls, max(2, bench.scale.rounds // 3), bench.scale.in_a_row)
    flops = count_flops(bench.encoder, batch) / batch
    rate = gemm.gflop_per_s(times["multiply"].median)
    floor = gemm.ms_of(flops, times["multiply"].median)
    figures = []
    target = at_most(MAX_OF_ARITHMETIC, "ratio")
    against = f"{flops / 1e9:.3f} GFLOP (products and convolutions) at the measured peak"
    for backend in backends:
        name = f"step of {STEP_MS} ms for {batch} streams at once, by the stream, {NAMES[backend]}"
        if backend in missing:
            figures.append(skipped(name, "ms", missing[backend], target))
            continue
        note = f"{rate:.0f} GFLOP/s at the same time"
        figures.append(times[backend].figure(name, "ms", 1 / batch, floor, against, target, note))
    return figures
