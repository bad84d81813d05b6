"""Batches of random segments of the recordings; a batch depends on the seed and the step alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from echostream.config import ConfigError
from echostream.data.unit_table import UnitTable
from echostream.models.harmonic_noise import DELAY_SAMPLES
from echostream.models.vocoder import KNOTS_PER_UNIT
from echostream.streaming.clock import UNIT_SAMPLES
from echostream.training.vocoder.config import VocoderDataConfig
from echostream.training.vocoder.targets import Targets


class Segments(NamedTuple):
    """A batch of segments of T units."""

    units: Tensor  # (B, T)
    samples: Tensor  # (B, 320 T), what the vocoder should give for them: 5 ms late
    pitch: Tensor  # (B, 2 T)
    voicing: Tensor  # (B, 2 T)
    counted: Tensor  # (B, T) bool, False for the context


class SegmentSampler:
    """Draws segments; one that begins an utterance has no context before it, and all of it counts.

    Raises ConfigError if no utterance is long enough.
    """

    def __init__(self, table: UnitTable, targets: Targets, config: VocoderDataConfig) -> None:
        self._table, self._targets, self._config = table, targets, config
        lengths = np.diff(targets.starts)
        self._usable = np.flatnonzero(lengths >= config.segment_units)
        if not len(self._usable):
            raise ConfigError(
                f"`data.segment_units` is {config.segment_units}, but the longest recording of "
                f"{table.path} has {lengths.max(initial=0)} units."
            )

    def draw(self, step: int) -> Segments:
        """The batch of a step.

        Raises `AudioError` naming the line of a recording that cannot be read, or whose RMS is not
        below 1: a waveform of whole numbers would train without a complaint, to noise.
        """
        rng = np.random.default_rng((self._config.seed, step))
        rows = [self._segment(rng) for _ in range(self._config.batch_size)]
        return Segments(*(torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)))

    def _segment(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        targets, size = self._targets, self._config.segment_units
        index = int(rng.choice(self._usable))
        begin, end = targets.starts[index], targets.starts[index + 1]
        context = self._config.context_units
        start = max(0, int(rng.integers(-context, end - begin - size + 1)))
        samples = self._table.samples(self._table.rows[index])
        first, count = start * UNIT_SAMPLES - DELAY_SAMPLES, size * UNIT_SAMPLES
        piece = samples[max(first, 0) : first + count]
        piece = np.pad(piece, (count - len(piece), 0)) if first < 0 else piece
        units = slice(begin + start, begin + start + size)
        knots = slice(KNOTS_PER_UNIT * units.start, KNOTS_PER_UNIT * units.stop)
        counted = np.arange(size) >= (context if start else 0)
        return (
            targets.units[units].astype(np.int64),
            piece.astype(np.float32),
            targets.pitch[knots],
            targets.voicing[knots],
            counted,
        )
