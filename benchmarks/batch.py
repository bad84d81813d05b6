"""One step for many streams at once, by the stream, against the arithmetic that it takes."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figures import Figure, Unavailable, at_most, skipped
from benchmarks.floors import Multiplier
from benchmarks.step import WARM_S
from benchmarks.streams import STEP_MS, FeatureStream, count_flops
from benchmarks.subjects import NAMES, Bench
from benchmarks.timing import take_turns

MAX_OF_ARITHMETIC = 2.5


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    batch = bench.scale.batch
    multiplier = Multiplier()
    subjects: dict[str, Callable[[], object]] = {"multiply": multiplier.multiply}
    missing: dict[str, Unavailable] = {}
    backends = ("onnx", "torch")
    for backend in backends:
        try:
            stream = FeatureStream(bench.encoder_of(backend), batch=batch)
        except Unavailable as error:
            missing[backend] = error
            continue
        stream.hear(min(WARM_S, 2))
        subjects[backend] = stream.step
    times = take_turns(subjects, max(2, bench.scale.rounds // 3), bench.scale.in_a_row)
    flops = count_flops(bench.encoder, batch) / batch
    rate = multiplier.gflop_per_s(times["multiply"].median)
    floor = multiplier.ms_of(flops, times["multiply"].median)
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
