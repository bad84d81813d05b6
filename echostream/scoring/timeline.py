"""The output times of one utterance, per unit of SimulEval, per word or per character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sentencepiece

from echostream.scoring.log import Utterance
from echostream.scoring.texts import characters, references_of
from echostream.scoring.words import Unit, characters_of


class Timeline(NamedTuple):
    """The input of the latency metrics for one utterance; times and lengths in ms.

    A unit is what one delay stands for: a word, a SentencePiece piece, a character, or one write
    of speech.
    """

    delays: tuple[float, ...]  # source time read when each unit was written
    elapsed: tuple[float, ...]  # the same plus compute; empty if the log has none
    source_ms: float
    reference_units: int | None  # None if unknown
    durations: tuple[float, ...] = ()  # of the writes, for speech


def in_simuleval_units(
    utterance: Utterance,
    unit: Unit,
    processor: sentencepiece.SentencePieceProcessor | None,
    by_reference: bool = True,
) -> Timeline:
    """The times as they are in the log; `processor` counts the pieces of the reference for `spm`.

    Without `by_reference` (SimulEval's --no-use-ref-len) and without a reference the length of the
    output stands for that of the reference.
    """
    if utterance.reference is None or not by_reference:
        num_units: int | None = len(utterance.delays)
    else:
        num_units = _num_reference_units(utterance.reference, unit, processor)
    return Timeline(
        utterance.delays,
        utterance.elapsed,
        utterance.source_ms,
        num_units,
        utterance.durations or (),
    )


def in_words(utterance: Utterance, ends: Sequence[int]) -> Timeline:
    """The times of words whose last units are at the positions `ends` among the delays."""
    first = None if utterance.reference is None else references_of(utterance.reference)[0]
    num_words = len(ends) if first is None else max(1, len(first.split()))
    elapsed = tuple(utterance.elapsed[end] for end in ends) if utterance.elapsed else ()
    delays = tuple(utterance.delays[end] for end in ends)
    return Timeline(delays, elapsed, utterance.source_ms, num_words)


def in_characters(utterance: Utterance, unit: Unit) -> Timeline | None:
    """The times of characters, without spaces; None if the characters of a unit are unknown."""
    times = list(zip(utterance.delays, utterance.elapsed or utterance.delays, strict=True))
    found = characters_of(utterance, unit, times)
    if found is None:
        return None
    character_times = found[1]
    first = None if utterance.reference is None else references_of(utterance.reference)[0]
    num_characters = len(character_times) if first is None else max(1, len(characters(first)))
    return Timeline(
        tuple(delay for delay, _ in character_times),
        tuple(elapsed for _, elapsed in character_times) if utterance.elapsed else (),
        utterance.source_ms,
        num_characters,
    )


def _num_reference_units(
    reference: str, unit: Unit, processor: sentencepiece.SentencePieceProcessor | None
) -> int | None:
    """The length of the reference as SimulEval counts it; None if it is unknown or zero."""
    if unit == "char":
        return len(reference.strip()) or None
    if unit == "spm":
        return len(processor.encode(reference)) or None if processor else None
    return len(reference.split(" "))
