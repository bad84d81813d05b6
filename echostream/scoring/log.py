"""The reader of instances.log, SimulEval's log with one JSON object per utterance.

Three builds of SimulEval write such logs: 1.1.4 of the package index, the head of its repository
and the copy in StreamSpeech. A line of text output has one delay per unit; a line of speech output
has one per write, with its duration, and never holds times with compute.

`read_log` reads any log as far as possible and reports what it skips. `read_complete_log` reads the
log of one of our own runs and refuses anything that is missing or damaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from echostream.scoring.log_line import (
    LEAST_MS,
    MOST_BYTES,
    MOST_MS,
    MOST_SPEECH_MS,
    BrokenLine,
    check_unused,
    index_of,
    length_of_source,
    optional_text,
    parse_line,
    text_of_field,
    texts_of_field,
    times_of_field,
)

INSTANCES_LOG = "instances.log"
_MOST_NAMED = 20  # faults of one kind that are listed one by one
_UNIT_NAMES = {"word": "words", "char": "characters", "spm": "pieces"}


class ScoringError(ValueError):
    """A log that cannot be scored; the message names the file and what is wrong in it."""


@dataclass(frozen=True)
class Utterance:
    """One line of a log; times in ms."""

    index: int
    prediction: str  # for speech, the path of a recording
    reference: str | None
    delays: tuple[float, ...]
    elapsed: tuple[float, ...]  # empty if the build wrote none
    source_ms: float
    pieces: tuple[str, ...] | None = None  # SentencePiece units, if the build wrote them
    durations: tuple[float, ...] | None = None  # of the writes; None for text
    line: int = 0  # from 1

    @property
    def is_speech(self) -> bool:
        """The output is speech."""
        return self.durations is not None


class Log(NamedTuple):
    """The readable lines, one per index and ordered by it, and what was wrong with the others."""

    utterances: tuple[Utterance, ...]
    skipped: tuple[str, ...]  # a sentence for each part of the run that is not in the scores
    notes: tuple[str, ...]  # sentences about oddities that cost nothing


def read_log(path: Path) -> Log:
    """Reads a log as far as possible. Of two lines with one index the later counts (SimulEval).

    Raises ScoringError if the file cannot be opened, holds no readable line, or mixes text and
    speech.
    """
    read: list[Utterance] = []
    skipped: list[str] = []
    for number, line in _lines(path):
        try:
            read.append(parse_utterance(line, number))
        except ValueError as error:
            # Nothing follows the last line end, unless the writer was stopped.
            cut = isinstance(error, BrokenLine) and not line.endswith(b"\n")
            what = "is cut off in the middle" if cut else "cannot be read"
            skipped.append(f"line {number} {what} and was left out ({error}).")
    if not read:
        reason = skipped[0] if skipped else "the file is empty."
        raise ScoringError(f"{path}: holds no utterance that can be scored: {reason}")
    if len({utterance.is_speech for utterance in read}) > 1:
        raise ScoringError(f"{path}: must be a log of text or of speech, but mixes both.")
    utterances, notes = _one_per_index(read)
    gaps = _gaps([utterance.index for utterance in utterances])
    return Log(
        tuple(utterances),
        (*_first(skipped, "lines were left out"), *_first(gaps, "gaps")),
        tuple(_first(notes, "utterances are there twice")),
    )


def read_complete_log(
    path: Path, num_expected: int | None = None, unit: str = "word"
) -> list[Utterance]:
    """Reads the log of a finished run of speech to text, whose latency is counted in `unit`.

    The unit `write` is that of speech to speech.

    Raises ScoringError if a line cannot be read, if its units and times differ in number, or if the
    indices are not 0, 1, ..., `num_expected` - 1.
    """
    utterances = []
    for number, line in _lines(path):
        try:
            utterances.append(parse_complete_utterance(line, unit, number))
        except ValueError as error:
            raise ScoringError(f"{path}, line {number}: {error}") from error
    indices = [utterance.index for utterance in utterances]
    expected = len(indices) if num_expected is None else num_expected
    if indices != list(range(expected)):
        raise ScoringError(
            f"{path}: must hold the utterances 0 to {expected - 1} in order, "
            f"but holds {len(indices)} lines with other indices instead."
        )
    if not utterances:
        raise ScoringError(f"{path}: holds no utterance.")
    return utterances


def parse_utterance(line: bytes, number: int = 0) -> Utterance:
    """The utterance of a line of text or speech output; `number` is the number of the line.

    Raises ValueError for anything that SimulEval does not write, BrokenLine if it is not JSON.
    """
    logged = parse_line(line)
    speech = "durations" in logged
    if not speech and isinstance(logged.get("source"), str):
        raise ValueError("its source is text, whose latency is not measured in ms")
    utterance = Utterance(
        index=index_of(logged),
        prediction=text_of_field(logged, "prediction"),
        reference=optional_text(logged, "reference"),
        delays=times_of_field(logged, "delays"),
        elapsed=times_of_field(logged, "elapsed", least=-MOST_MS, optional=True),
        source_ms=length_of_source(logged),
        pieces=texts_of_field(logged, "prediction_spm") if "prediction_spm" in logged else None,
        durations=times_of_field(logged, "durations") if speech else None,
        line=number,
    )
    check_unused(logged)
    _check_counts(utterance)
    return utterance


def parse_complete_utterance(line: bytes, unit: str, number: int = 0) -> Utterance:
    """The utterance of a line with a reference and all times, counted in `unit`.

    Its output is speech if the unit is `write`, and text if not.

    Raises ValueError as `parse_utterance` does, and if a reference or a time is missing.
    """
    try:
        utterance = parse_utterance(line, number)
        if utterance.reference is None:
            raise ValueError("it has no reference")
        if utterance.is_speech is not (unit == "write"):
            raise ValueError(f"its output is {'speech' if utterance.is_speech else 'text'}")
        if unit == "spm" and utterance.pieces is None:
            raise ValueError("it has no 'prediction_spm'")
    except ValueError as error:
        raise ValueError(f"is not an instance of SimulEval: {error}.") from error
    if utterance.is_speech:  # whose lines never have times with compute
        return utterance
    units = {"char": utterance.prediction, "spm": utterance.pieces or ()}.get(
        unit, utterance.prediction.split()
    )
    if not len(units) == len(utterance.delays) == len(utterance.elapsed):
        name = _UNIT_NAMES[unit]
        raise ValueError(
            f"must have one delay and one elapsed time per {name[:-1]}, but has "
            f"{len(units)} {name}, {len(utterance.delays)} delays and "
            f"{len(utterance.elapsed)} elapsed times instead."
        )
    return utterance


def parse_index(line: bytes) -> int:
    """The index of the utterance of a line. Raises ValueError if there is none."""
    return index_of(parse_line(line))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The number and content of each line that is not blank; a line that is too long is cut.

    Raises ScoringError if the file cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is not a file")  # reading a pipe would block
        number = 0
        with open(path, "rb") as file:
            while line := file.readline(MOST_BYTES + 1):
                number += 1
                rest = line
                while len(rest) > MOST_BYTES and not rest.endswith(b"\n"):
                    rest = file.readline(MOST_BYTES + 1)
                if line.strip():
                    yield number, line
    except OSError as error:
        raise ScoringError(f"{path}: cannot be read: {error.strerror or error}") from error


def _first(sentences: Sequence[str], what: str) -> list[str]:
    more = len(sentences) - _MOST_NAMED
    return [*sentences[:_MOST_NAMED], *([f"{more} more {what}."] if more > 0 else [])]


def _one_per_index(read: Sequence[Utterance]) -> tuple[list[Utterance], list[str]]:
    found: dict[int, Utterance] = {}
    notes = []
    for utterance in read:
        if utterance.index in found:
            notes.append(
                f"utterance {utterance.index} is there twice; line {utterance.line} holds, "
                f"line {found[utterance.index].line} does not count."
            )
        found[utterance.index] = utterance
    return [found[index] for index in sorted(found)], notes


def _gaps(indices: Sequence[int]) -> list[str]:
    gaps = []
    for before, after in pairwise(indices):
        if after - before == 2:
            gaps.append(f"utterance {before + 1} is missing.")
        elif after - before > 2:
            gaps.append(f"utterances {before + 1} to {after - 1} are missing.")
    return gaps


def _check_counts(utterance: Utterance) -> None:
    num_delays = len(utterance.delays)
    for name, values in (("elapsed", utterance.elapsed), ("prediction_spm", utterance.pieces)):
        if values and len(values) != num_delays:
            raise ValueError(f"it has {num_delays} delays, but {len(values)} {name}")
    if any(b < a for a, b in pairwise(utterance.delays)):
        raise ValueError("its delays go back")
    if utterance.durations is not None:
        if len(utterance.durations) != num_delays or min(utterance.durations, default=1) < LEAST_MS:
            raise ValueError(f"it must have {num_delays} positive durations")
        if sum(utterance.durations) > MOST_SPEECH_MS:
            raise ValueError(f"its durations must be at most {MOST_SPEECH_MS:g} ms together")
    elif len(utterance.prediction.split()) > num_delays:
        num_words = len(utterance.prediction.split())
        raise ValueError(f"its {num_words} words have only {num_delays} delays")
