"""One step of the encoder, one stream: 160, 320 and 640 ms of audio, in every back end.

The limit is reading all weights from memory once, which takes the same time for any chunk of less
than about a second; it is measured in turn with the steps.
"""

from __future__ import annotations

from collections.abc import Callable

from eval.bench.figures import Figure, Target, Unavailable, at_most, skipped
from eval.bench.floors import Multiplier, Reader
from eval.bench.products import products_alone
from eval.bench.streams import STEP_MS, FeatureStream
from eval.bench.subjects import BACKENDS, NAMES, Bench
from eval.bench.timing import Times, take_turns

WARM_S = 10  # of each stream, before it is timed
MAX_RTF = {160: 0.16, 640: 0.05}  # of ONNX Runtime in fp32
MAX_EAGER_MS = 60
MAX_OF_READING = 1.6
MAX_INT8_OF_FP32 = 0.65


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    reader, multiplier = Reader(4 * bench.num_weights), Multiplier()
    int8_reader = Reader(bench.num_weights)
    figures = []
    for step_ms in (STEP_MS, 160, 640):
        subjects: dict[str, Callable[[], object]] = {
            "read": reader.read,
            "read int8": int8_reader.read,
            "multiply": multiplier.multiply,
        }
        missing: dict[str, Unavailable] = {}
        for backend in BACKENDS:
            try:
                stream = FeatureStream(bench.encoder_of(backend), step_ms)
            except Unavailable as error:
                missing[backend] = error
                continue
            stream.hear(WARM_S)
            subjects[backend] = stream.step
            if backend == "onnx" and step_ms == STEP_MS:
                subjects["products"] = products_alone(bench.encoder_file(backend), step_ms)
        times = take_turns(subjects, bench.scale.rounds, bench.scale.in_a_row)
        if step_ms == STEP_MS:
            figures += limits(times, reader, multiplier)
            figures += steps_of_320(bench, times, missing)
            if "onnx" not in missing:
                figures += products_by_rows(bench, reader)
        else:
            figures += real_time_factors(bench, times, missing, step_ms)
    return figures


def limits(times: dict[str, Times], reader: Reader, multiplier: Multiplier) -> list[Figure]:
    """What the machine can do."""
    read, product = times["read"], times["multiply"]
    size = reader.nbytes / 1e6
    return [
        read.figure(
            f"limit: reading the encoder's {size:.0f} MB of fp32 weights once",
            note=f"{reader.gb_per_s(read.median):.1f} GB/s with {reader.how}, one thread",
        ),
        Figure(
            "limit: floating-point peak, product of two 512 x 512 matrices",
            multiplier.gflop_per_s(product.median),
            "GFLOP/s",
            low=multiplier.gflop_per_s(product.percentile(90)),
            high=multiplier.gflop_per_s(product.percentile(10)),
            note=f"torch mm in fp32, one thread; median of {len(product.ms)}",
        ),
    ]


def steps_of_320(
    bench: Bench, times: dict[str, Times], missing: dict[str, Unavailable]
) -> list[Figure]:
    """The step against its limit in each back end, and int8 against fp32."""
    targets = {
        "torch": at_most(MAX_EAGER_MS),
        "onnx": at_most(MAX_OF_READING, "ratio"),
        "onnx-int8": at_most(MAX_INT8_OF_FP32, "ratio"),
    }
    figures = []
    for backend in ("onnx", "torch", "onnx-int8"):
        name = f"step of {STEP_MS} ms, {bench.size} encoder, {NAMES[backend]}"
        target: Target | None = targets[backend]
        if backend in missing:
            figures.append(skipped(name, "ms", missing[backend], target))
        elif backend != "onnx-int8":
            floor, against = times["read"].median, "reading the weights once"
            figures.append(times[backend].figure(name, "ms", 1, floor, against, target))
        else:
            floor, against = times["onnx"].median, "the same step in ONNX Runtime fp32"
            figures.append(times[backend].figure(name, "ms", 1, floor, against, target))
            floor, against = times["read int8"].median, "reading the weights once, a byte each"
            figures.append(times[backend].figure(f"{name}, its own limit", "ms", 1, floor, against))
        if backend == "onnx" and "products" in times:
            name = f"{name}: its matrix products alone"
            figures.append(times["products"].figure(name, "ms", 1, floor, against))
    return figures


def products_by_rows(bench: Bench, reader: Reader) -> list[Figure]:
    """What ONNX Runtime needs to multiply with all weights, by the number of rows that they meet.

    In a step of 320 ms the stacks meet 2 to 16.
    """
    path = bench.encoder_file("onnx")
    subjects = {str(rows): products_alone(path, STEP_MS, rows) for rows in (1, 2, 4, 8, 16)}
    times = take_turns({"read": reader.read, **subjects}, bench.scale.rounds, 1)
    return [
        times[rows].figure(
            f"matrix products of the step alone, if all had rows: {rows}",
            floor=times["read"].median,
            against="reading the weights once",
        )
        for rows in subjects
    ]


def real_time_factors(
    bench: Bench, times: dict[str, Times], missing: dict[str, Unavailable], step_ms: int
) -> list[Figure]:
    """The step as a share of the audio that it hears."""
    figures = []
    for backend in ("onnx", "torch", "onnx-int8"):
        name = f"RTF at steps of {step_ms} ms, {bench.size} encoder, {NAMES[backend]}"
        target = at_most(MAX_RTF[step_ms]) if backend == "onnx" else None
        if backend in missing:
            figures.append(skipped(name, "s per s", missing[backend], target))
            continue
        int8 = backend == "onnx-int8"
        read = times["read int8" if int8 else "read"].median / step_ms
        against = "reading the weights once" + (", a byte each" if int8 else "")
        found = times[backend]
        note = f"{found.median:.1f} ms a step"
        figures.append(found.figure(name, "s per s", 1 / step_ms, read, against, target, note))
    return figures
