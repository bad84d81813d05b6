"""One step of the encoder, one stream: 160, 320 and 640 ms of audio, in every back end.

A step takes at least the time of reading all weights from memory once, and at least that of its
arithmetic at the peak of the processor. The reference is their sum, because a step of few rows does
not overlap them: each weight is read, used for a few products, and not used again. Reading, peak
and steps are measured in turn. All targets are ratios to that sum or to another step, so that they
are as strict for a processor with wide vector units (whose arithmetic is short beside the reading)
as for one without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.figures import Figure, Target, Unavailable, at_most, skipped
from benchmarks.fixtures import BACKENDS, NAMES, Bench
from benchmarks.gemms import gemms_alone
from benchmarks.hardware import GemmBound, MemoryReadBound
from benchmarks.streams import STEP_MS, FeatureStream, count_flops
from benchmarks.timing import Times, take_turns

WARM_S = 10  # seconds of each stream before it is timed
# A step against its reading and arithmetic, one after the other. In a compiled graph the rest
# (caches, masks, norms, activations) may take as long as those: it is elementwise on few rows.
MAX_OF_LIMITS = 2
# PyTorch launches every operation separately, each with its own pass over memory.
MAX_EAGER_OF_LIMITS = 4
# Weights of one byte are a quarter to read. Integer products are faster only with instructions
# that not every processor has, and all other operations stay the same.
MAX_INT8_OF_FP32 = 0.65


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    reader, gemm = MemoryReadBound(4 * bench.num_weights), GemmBound()
    encoder = bench.encoder
    int8_reader = MemoryReadBound(bench.num_weights)
    figures = []
    for step_ms in (STEP_MS, 160, 640):
        calls: dict[str, Callable[[], object]] = {
            "read": reader.read,
            "read int8": int8_reader.read,
            "multiply": gemm.multiply,
        }
        missing: dict[str, Unavailable] = {}
        for backend in BACKENDS:
            try:
                stream = FeatureStream(bench.encoder_of(backend), step_ms)
            except Unavailable as error:
                missing[backend] = error
                continue
            stream.advance_to(WARM_S)
            calls[backend] = stream.step
            if backend == "onnx" and step_ms == STEP_MS:
                calls["products"] = gemms_alone(bench.encoder_file(backend), step_ms)
        times = take_turns(calls, bench.scale.rounds, bench.scale.in_a_row)
        work = Work(
            times["read"].median,
            gemm.ms_of(count_flops(encoder, 1, step_ms), times["multiply"].median),
        )
        if step_ms == STEP_MS:
            figures += limits(times, reader, gemm, work)
            figures += steps_of_320(bench, times, missing, work)
            if "onnx" not in missing:
                figures += products_by_rows(bench, reader)
        else:
            figures += real_time_factors(bench, times, missing, step_ms, work)
    return figures


@dataclass(frozen=True)
class Work:
    """The least work of a step in ms: reading its weights, and its arithmetic at the peak."""

    reading: float
    arithmetic: float

    @property
    def in_turn(self) -> float:
        """Both, one after the other."""
        return self.reading + self.arithmetic

    def __str__(self) -> str:
        return (
            f"reading the weights ({self.reading:.1f} ms), then the arithmetic at the peak "
            f"({self.arithmetic:.1f} ms)"
        )


def limits(
    times: dict[str, Times], reader: MemoryReadBound, gemm: GemmBound, work: Work
) -> list[Figure]:
    """The limits of the machine."""
    read, product = times["read"], times["multiply"]
    size = reader.nbytes / 1e6
    return [
        read.figure(
            f"limit: reading the encoder's {size:.0f} MB of fp32 weights once",
            note=f"{reader.gb_per_s(read.median):.1f} GB/s with {reader.how}, one thread",
        ),
        Figure(
            "limit: floating-point peak, product of two 512 x 512 matrices",
            gemm.gflop_per_s(product.median),
            "GFLOP/s",
            low=gemm.gflop_per_s(product.percentile(90)),
            high=gemm.gflop_per_s(product.percentile(10)),
            note=f"torch mm in fp32, one thread; median of {len(product.ms)}",
        ),
        Figure(
            f"limit of a step of {STEP_MS} ms: the longer of reading and arithmetic",
            max(work.reading, work.arithmetic),
            "ms",
            note=str(work),
        ),
    ]


def steps_of_320(
    bench: Bench, times: dict[str, Times], missing: dict[str, Unavailable], work: Work
) -> list[Figure]:
    """The step against its least work in each back end, and int8 against fp32."""
    targets = {
        "torch": at_most(MAX_EAGER_OF_LIMITS, "ratio"),
        "onnx": at_most(MAX_OF_LIMITS, "ratio"),
        "onnx-int8": at_most(MAX_INT8_OF_FP32, "ratio"),
    }
    figures = []
    for backend in ("onnx", "torch", "onnx-int8"):
        name = f"step of {STEP_MS} ms, {bench.size} encoder, {NAMES[backend]}"
        target: Target | None = targets[backend]
        if backend in missing:
            figures.append(skipped(name, "ms", missing[backend], target))
        elif backend != "onnx-int8":
            floor, against = work.in_turn, str(work)
            figures.append(times[backend].figure(name, "ms", 1, floor, against, target))
        else:
            floor, against = times["onnx"].median, "the same step in ONNX Runtime fp32"
            figures.append(times[backend].figure(name, "ms", 1, floor, against, target))
            floor, against = times["read int8"].median, "reading the weights once, a byte each"
            figures.append(times[backend].figure(f"{name}, its own limit", "ms", 1, floor, against))
        if backend == "onnx" and "products" in times:
            name = f"{name}: its matrix products alone"
            figures.append(times["products"].figure(name, "ms", 1, work.in_turn, str(work)))
    return figures


def products_by_rows(bench: Bench, reader: MemoryReadBound) -> list[Figure]:
    """The time of all matrix products in ONNX Runtime, by the number of rows of their inputs.

    In a step of 320 ms these have 2 to 16 rows.
    """
    path = bench.encoder_file("onnx")
    calls = {str(rows): gemms_alone(path, STEP_MS, rows) for rows in (1, 2, 4, 8, 16)}
    times = take_turns({"read": reader.read, **calls}, bench.scale.rounds, 1)
    return [
        times[rows].figure(
            f"matrix products of the step alone, if all had rows: {rows}",
            floor=times["read"].median,
            against="reading the weights once",
        )
        for rows in calls
    ]


def real_time_factors(
    bench: Bench,
    times: dict[str, Times],
    missing: dict[str, Unavailable],
    step_ms: int,
    work: Work,
) -> list[Figure]:
    """The time of a step per second of its audio, against its least work."""
    figures = []
    for backend in ("onnx", "torch", "onnx-int8"):
        name = f"RTF at steps of {step_ms} ms, {bench.size} encoder, {NAMES[backend]}"
        target = at_most(MAX_OF_LIMITS, "ratio") if backend == "onnx" else None
        if backend in missing:
            figures.append(skipped(name, "s per s", missing[backend], target))
            continue
        if backend == "onnx-int8":
            least, against = times["read int8"].median, "reading the weights once, a byte each"
        else:
            least, against = work.in_turn, str(work)
        found = times[backend]
        floor, note = least / step_ms, f"{found.median:.1f} ms a step"
        figures.append(found.figure(name, "s per s", 1 / step_ms, floor, against, target, note))
    return figures
