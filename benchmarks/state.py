"""Bytes of the state of one stream, early and late."""

from __future__ import annotations

from benchmarks.figures import Figure, Unavailable, at_most, skipped
from benchmarks.fixtures import NAMES, Bench, open_model
from benchmarks.streams import FeatureStream, SessionStream
from echostream.session.translator import StreamingTranslator

MAX_MB = 4.0
EARLY_S, LATE_S = 10, 40


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    figures = []
    for backend in ("torch", "onnx"):
        name = f"state of one stream, {bench.size} encoder, {NAMES[backend]}"
        try:
            stream = FeatureStream(bench.encoder_of(backend))
        except Unavailable as error:
            figures.append(skipped(name, "MB", error, at_most(MAX_MB)))
            continue
        stream.advance_to(EARLY_S)
        early = stream.nbytes()
        stream.advance_to(LATE_S)
        figures += _two(name, early, stream.nbytes())
    session = StreamingTranslator(open_model(bench.model_folder, "torch"))
    young = SessionStream(session)
    sizes = []
    for seconds in (EARLY_S, LATE_S):
        while session.delay_ms < 1000 * seconds:
            young.step()
        sizes.append(session.state_nbytes)
    return [*figures, *_two("state of one session, network and decoding, PyTorch", *sizes)]


def _two(name: str, early: int, late: int) -> list[Figure]:
    grown = f"{name}: second {LATE_S} less second {EARLY_S}"
    return [
        Figure(name, early / 1e6, "MB", target=at_most(MAX_MB), note=f"at second {EARLY_S}"),
        Figure(grown, late - early, "bytes", target=at_most(0)),
    ]
