"""How a unit decoder does on held-out texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from echostream.models.unit_decoder import UnitDecoder
from echostream.modules.masks import length_mask
from echostream.scoring.metrics.wer import edit_distance
from echostream.speech_config import FRAME
from echostream.streaming.clock import UNIT_MS
from echostream.training.unit_decoder.alignment import merged
from echostream.training.unit_decoder.example import NO_UNIT, UnitExample, collate_units


class FrameScores(NamedTuple):
    """Scores of units at the durations of the speech, and of the durations themselves."""

    distance_db: float  # RMS difference of the centroids of found and wanted units
    accuracy: float  # share of the units that are right
    duration_error: float  # mean absolute error of the duration of a word, in ms
    unit_error_rate: float  # edits per unit, in percent, at the predicted durations

    def __str__(self) -> str:
        return (
            f"{self.distance_db:.2f} dB from the units of the speech, {self.accuracy:.1%} of them "
            f"right, {self.duration_error:.0f} ms error of a word's duration, unit error rate "
            f"{self.unit_error_rate:.1f} %"
        )


class CtcScores(NamedTuple):
    """Scores of the units of alignments."""

    unit_error_rate: float  # edits per unit, in percent
    length_ratio: float  # units found per unit of the speech

    def __str__(self) -> str:
        return f"unit error rate {self.unit_error_rate:.1f} %, length ratio {self.length_ratio:.2f}"


@torch.inference_mode()
def score(
    decoder: UnitDecoder, examples: Sequence[UnitExample], centroids: Tensor | None, size: int = 20
) -> FrameScores | CtcScores:
    """The scores of the decoder's kind; `centroids (U, F)` are of log-mel features, if known."""
    if decoder.config.kind == FRAME:
        return _score_frames(decoder, examples, centroids, size)
    edits = found = wanted = 0
    for start in range(0, len(examples), size):
        part = examples[start : start + size]
        batch = collate_units(part, decoder.config)
        output = decoder(decoder.encode(batch.words, batch.following), batch.positions)
        for units, example in zip(
            merged(output.logits.argmax(-1), output.num_frames, decoder.num_units),
            part,
            strict=True,
        ):
            edits += _edits(example.units, units)
            found, wanted = found + len(units), wanted + len(example.units)
    return CtcScores(100 * edits / wanted, found / wanted)


def _score_frames(
    decoder: UnitDecoder, examples: Sequence[UnitExample], centroids: Tensor | None, size: int
) -> FrameScores:
    squares, right, errors, edits = [], [], [], 0
    for start in range(0, len(examples), size):
        part = examples[start : start + size]
        batch = collate_units(part, decoder.config)
        states = decoder.encode(batch.words, batch.following)
        logits = decoder(states, batch.durations).logits
        known, spoken = batch.units != NO_UNIT, batch.durations > 0
        found, wanted = logits[known].argmax(-1), batch.units[known]
        if centroids is not None:
            squares.append((centroids[found] - centroids[wanted]).square().mean(-1))
        right.append((found == wanted).float())
        durations = decoder.lengths(states, spoken, torch.ones(len(part))) * spoken
        errors.append((durations - batch.durations)[spoken].abs().float())
        own = decoder(states, durations)
        valid = length_mask(own.num_frames, own.logits.shape[1])
        for row, example in enumerate(part):
            edits += _edits(example.units, own.logits[row][valid[row]].argmax(-1).tolist())
    decibels = 10 / math.log(10)  # features are natural logarithms of power
    return FrameScores(
        torch.cat(squares).mean().sqrt().item() * decibels if squares else math.nan,
        torch.cat(right).mean().item(),
        torch.cat(errors).mean().item() * UNIT_MS,
        100 * edits / sum(len(example.units) for example in examples),
    )


def _edits(wanted: Sequence[int], found: Sequence[int]) -> int:
    return edit_distance([str(unit) for unit in wanted], [str(unit) for unit in found])
