"""The unit vocoder: streaming in steps of 160 ms of speech, one stream and many."""

from __future__ import annotations

import torch

from benchmarks.figures import Figure, at_most
from benchmarks.fixtures import NAMES, QUICK, TINY_VOCODER, Bench
from benchmarks.timing import take_turns
from echostream.models.vocoder import UnitVocoder
from echostream.speech_config import VocoderConfig
from echostream.streaming.clock import GROUP_MS, GROUP_UNITS

MAX_RTF = 0.08
# A step of one stream is mostly the launching of operations, which a batch shares.
MAX_OF_ALONE = 0.9


class Streams:
    """Streams that are given 8 units each, step after step."""

    def __init__(self, vocoder: UnitVocoder, num_streams: int) -> None:
        self._vocoder = vocoder
        self._state = vocoder.init_state(num_streams)
        self._turn = 0
        generator = torch.Generator().manual_seed(0)
        self._units = torch.randint(
            vocoder.config.num_units, (16, num_streams, GROUP_UNITS), generator=generator
        )

    def step(self) -> None:
        """One step of all streams."""
        self._turn = (self._turn + 1) % len(self._units)
        _, self._state = self._vocoder.step(self._units[self._turn], self._state)


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group: the vocoder of the demo with random weights."""
    torch.manual_seed(0)
    vocoder = UnitVocoder(TINY_VOCODER if bench.scale is QUICK else VocoderConfig(1000)).eval()
    capacity = bench.scale.batch
    alone, together = Streams(vocoder, 1), Streams(vocoder, capacity)
    times = take_turns(
        {"alone": alone.step, "together": together.step},
        bench.scale.rounds,
        bench.scale.in_a_row,
    )
    size = sum(parameter.numel() for parameter in vocoder.parameters()) / 1e6
    name = f"unit vocoder, {size:.1f} M, {NAMES['torch']}"
    return [
        times["alone"].figure(
            f"RTF of the {name}, steps of {GROUP_UNITS} units, one stream",
            "s per s",
            1 / GROUP_MS,
            1.0,
            "real time",
            at_most(MAX_RTF, "ratio"),
            f"{times['alone'].median:.1f} ms a step",
        ),
        times["together"].figure(
            f"step of {GROUP_UNITS} units, {capacity} streams at once, by the stream, {name}",
            "ms",
            1 / capacity,
            times["alone"].median,
            "a step of one stream",
            at_most(MAX_OF_ALONE, "ratio"),
        ),
    ]
