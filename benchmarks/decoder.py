"""Sessions with the text decoder: many streams in one `StreamBatch` against each stream alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, at_most
from benchmarks.fixtures import EXAMPLES, NAMES, Bench, open_model
from benchmarks.streams import STEP_MS
from benchmarks.timing import take_turns
from echostream.frontend.audio import read_audio
from echostream.model_folder import Model
from echostream.session.batch import StreamBatch
from echostream.session.translator import StreamingTranslator
from echostream.session_config import SessionConfig
from echostream.streaming import SAMPLE_RATE

MAX_OF_ALONE = 0.6  # time of a stream in the batch, of the time of a stream alone
CONFIG = SessionConfig(decoding_method="decoder", lagging_k1=1)
_SIZE = STEP_MS * SAMPLE_RATE // 1000
_WARM_STEPS = 12


class Speech:
    """Segments of the example recordings at 16 kHz, one recording after the other, endlessly."""

    def __init__(self, first: int) -> None:
        paths = sorted(EXAMPLES.glob("*.flac"))
        order = paths[first % len(paths) :] + paths[: first % len(paths)]
        self._samples = np.concatenate([read_audio(path)[0] for path in order[:8]])
        self._start = 0

    def next(self) -> NDArray[np.float32]:
        """The next segment (S,)."""
        start, self._start = self._start, self._start + _SIZE
        return np.take(self._samples, range(start, start + _SIZE), mode="wrap")


class BatchOfStreams:
    """`capacity` streams in one `StreamBatch`, each with recordings of its own."""

    def __init__(self, model: Model, capacity: int) -> None:
        self._batch = StreamBatch(model, capacity, CONFIG)
        self._speech = {self._batch.join(): Speech(4 * index) for index in range(capacity)}
        self.num_words = 0

    def step(self) -> None:
        """A segment for each stream, and one step of all."""
        for stream, speech in self._speech.items():
            self._batch.push(stream, speech.next(), SAMPLE_RATE)
        for outputs in self._batch.step().values():
            self.num_words += sum(len(output.words) for output in outputs)


class StreamAlone:
    """One stream in a session."""

    def __init__(self, model: Model) -> None:
        self._session = StreamingTranslator(model, CONFIG)
        self._speech = Speech(0)

    def step(self) -> None:
        """One segment."""
        self._session.push(self._speech.next(), SAMPLE_RATE)


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group: the demo model, whose decoder is trained."""
    capacity = bench.scale.batch
    model = open_model(bench.demo_folder, "torch")
    together, alone = BatchOfStreams(model, capacity), StreamAlone(model)
    for _ in range(_WARM_STEPS):
        together.step()
        alone.step()
    words = together.num_words / (capacity * _WARM_STEPS * STEP_MS / 1000)
    times = take_turns(
        {"together": together.step, "alone": alone.step},
        max(4, bench.scale.rounds),
        bench.scale.in_a_row,
    )
    name = (
        f"session with the text decoder, {STEP_MS} ms of {capacity} streams at once, by the stream"
    )
    figure = times["together"].figure(
        f"{name}, demo model, {NAMES['torch']}",
        "ms",
        1 / capacity,
        times["alone"].median,
        "a session of one stream",
        at_most(MAX_OF_ALONE, "ratio"),
        f"{words:.1f} words a second and stream",
    )
    return [figure]
