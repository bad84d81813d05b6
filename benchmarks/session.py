"""A whole session, samples to text, against the step of its encoder, and the time of its parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.figures import Figure, Unavailable, at_most, skipped
from benchmarks.fixtures import NAMES, Bench, open_model
from benchmarks.step import WARM_S
from benchmarks.streams import STEP_MS, FeatureStream, SessionStream
from benchmarks.timing import Times, take_turns
from echostream.frontend.fbank import OnlineFbank
from echostream.session.translator import StreamingTranslator

MAX_OF_ENCODER = 1.25


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    figures = []
    for backend in ("onnx", "torch", "onnx-int8"):
        name = f"session, {STEP_MS} ms of samples to text, {NAMES[backend]}"
        # int8 makes the encoder faster, but not the heads.
        target = None if backend == "onnx-int8" else at_most(MAX_OF_ENCODER, "ratio")
        try:
            model = open_model(bench.model_folder, backend)
            encoder = FeatureStream(bench.encoder_of(backend))
        except Unavailable as error:
            figures.append(skipped(name, "ms", error, target))
            continue
        num_words, times = _take_turns(bench, model, encoder)
        floor = times["encoder"].median
        against = f"the encoder's step of {STEP_MS} ms, {NAMES[backend]}"
        note = f"{num_words:.1f} words per second are written"
        figures.append(times["session"].figure(name, "ms", 1, floor, against, target, note))
        figures += _parts(name, times)
    return figures


def _take_turns(bench: Bench, model: Any, encoder: FeatureStream) -> tuple[float, dict[str, Times]]:
    """Words per second, and times of the session and of its parts."""
    translator = StreamingTranslator(model)
    session = SessionStream(translator)
    network = FeatureStream(model.network)
    fbank = OnlineFbank()
    count = 0

    def features() -> None:
        nonlocal count
        model.cmvn.apply(fbank.push(session.inputs[count % len(session.inputs)]))
        count += 1

    encoder.advance_to(WARM_S)
    network.advance_to(WARM_S)
    num_words = 0
    while translator.delay_ms < 1000 * WARM_S:
        num_words += sum(len(output.text.split()) for output in session.step())
    calls: dict[str, Callable[[], object]] = {
        "session": session.step,
        "network": network.step,
        "encoder": encoder.step,
        "features": features,
    }
    times = take_turns(calls, bench.scale.rounds, bench.scale.in_a_row)
    return num_words / WARM_S, times


def _parts(name: str, times: dict[str, Times]) -> list[Figure]:
    """The time of the parts of a session; what is not measured alone is the rest."""
    whole = times["session"].median
    heads = times["network"].median - times["encoder"].median
    rest = whole - times["network"].median - times["features"].median
    against = "the whole session"
    return [
        times["features"].figure(f"{name}: features and CMVN", "ms", 1, whole, against),
        times["encoder"].figure(f"{name}: encoder", "ms", 1, whole, against),
        Figure(f"{name}: both heads", heads, "ms", whole, against, note="network less encoder"),
        Figure(
            f"{name}: decoding, policy, words, the session itself",
            *(rest, "ms", whole, against),
            note="session less network and features",
        ),
    ]
