"""The speech of sessions: their samples and units, alone and in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiny_model import SAMPLE_RATE

from echostream.model_folder import Model
from echostream.session.batch import StreamBatch
from echostream.session.translator import Output, StreamingTranslator


def cut(samples: NDArray[Any], sizes: Sequence[int]) -> list[NDArray[Any]]:
    """The samples in pieces of the given sizes, over and over."""
    pieces, start, turn = [], 0, 0
    while start < len(samples):
        pieces.append(samples[start : start + sizes[turn % len(sizes)]])
        start, turn = start + sizes[turn % len(sizes)], turn + 1
    return pieces


def run(model: Model, pieces: Sequence[NDArray[Any]], **options: Any) -> list[Output]:
    session = StreamingTranslator(model, speech=True, **options)
    outputs = [output for piece in pieces for output in session.push(piece, SAMPLE_RATE)]
    return outputs + session.finish()


def run_batch(
    model: Model, recordings: Sequence[NDArray[Any]], **options: Any
) -> list[list[Output]]:
    """The outputs of recordings that go through one batch in segments of 250 ms."""
    batch = StreamBatch(model, len(recordings), speech=True, **options)
    streams = [batch.join() for _ in recordings]
    found: dict[int, list[Output]] = {stream: [] for stream in streams}
    for start in range(0, max(map(len, recordings)), 4000):
        for stream, samples in zip(streams, recordings, strict=True):
            if stream in batch and start < len(samples):
                batch.push(stream, samples[start : start + 4000], SAMPLE_RATE)
                if start + 4000 >= len(samples):
                    batch.finish(stream)
        for stream, outputs in batch.step().items():
            found[stream] += outputs
    while batch.ready:
        for stream, outputs in batch.step().items():
            found[stream] += outputs
    return list(found.values())


def wave(outputs: Sequence[Output]) -> NDArray[np.float32]:
    return np.concatenate([np.zeros(0, np.float32), *(output.samples for output in outputs)])


def units(outputs: Sequence[Output]) -> list[int]:
    return [unit for output in outputs for unit in output.units]


def assert_same_wave(found: Sequence[Output], wanted: Sequence[Output]) -> None:
    """Equal but for the rounding of float32."""
    loudest = np.abs(wave(wanted)).max(initial=1)
    np.testing.assert_allclose(wave(found), wave(wanted), rtol=0, atol=1e-5 * loudest)
