"""One step against re-encoding all audio so far, with the same encoder.

An agent whose encoder has no state re-encodes at each step, as StreamSpeech's does. In PyTorch that
is `forward`; in ONNX Runtime, where only the step is exported, it is one step of a new stream over
all audio so far, which is the same computation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.figures import Figure, Target, Unavailable, at_least, skipped
from benchmarks.fixtures import NAMES, Bench
from benchmarks.streams import STEP_MS, FeatureStream, noise_frames
from benchmarks.timing import Times, sample_in_turn
from echostream.streaming import GROUP_FRAMES

MIN_TIMES_FASTER = {5: 5, 20: 20, 60: 100}
_ROUNDS = {5: 8, 20: 5, 60: 3}  # fewer where a sample takes longer


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    figures = []
    for backend in ("torch", "onnx"):
        try:
            encoder = bench.encoder_of(backend)
        except Unavailable as error:
            for seconds in bench.scale.reencode_s:
                figures.append(skipped(_name(seconds, backend), "ms", error, _target(seconds)))
            continue
        stream = FeatureStream(encoder)
        for seconds in bench.scale.reencode_s:
            stream.advance_to(seconds)
            again = reencode(bench, encoder, backend, seconds)
            step, whole = _take_turns(bench, stream.step, again, seconds)
            where = f"a step of {STEP_MS} ms after {seconds} s, {NAMES[backend]}"
            figures += [
                whole.figure(
                    _name(seconds, backend), "ms", 1, step.median, where, _target(seconds)
                ),
                step.figure(where),
            ]
    return figures


def reencode(bench: Bench, encoder: Any, backend: str, seconds: int) -> Callable[[], object]:
    """A call that encodes `seconds` of audio from the beginning."""
    frames = noise_frames(seconds)
    length = torch.tensor([frames.shape[1]])
    if backend == "torch":
        return lambda: bench.encoder(frames, length, max_future_frames=0)
    # (1, T, 80), padded to whole groups as in `forward`
    padded = torch.nn.functional.pad(frames, (0, 0, 0, -frames.shape[1] % GROUP_FRAMES))
    return lambda: encoder.step(padded, encoder.init_state(1, 0))


def _take_turns(
    bench: Bench, step: Callable[[], object], again: Callable[[], object], seconds: int
) -> tuple[Times, Times]:
    """Times of the step and of the re-encoding."""
    samples: dict[str, list[tuple[float, float]]] = {"step": [], "again": []}
    for count in range(min(bench.scale.rounds, _ROUNDS.get(seconds, 3))):
        # A long call warms the caches itself; the first one allocates memory and is not timed.
        found = sample_in_turn({"again": again}, 1, in_a_row=1, untimed=int(count == 0))
        found |= sample_in_turn({"step": step}, 1, in_a_row=5, untimed=1)
        for name, more in found.items():
            samples[name] += more
    return Times.of(samples["step"]), Times.of(samples["again"])


def _name(seconds: int, backend: str) -> str:
    return f"re-encoding the {seconds} s of audio so far, {NAMES[backend]}"


def _target(seconds: int) -> Target | None:
    bound = MIN_TIMES_FASTER.get(seconds)
    return None if bound is None else at_least(bound, "ratio")
