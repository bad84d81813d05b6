"""Reading any instances.log for scoring: what cannot be read is left out and reported.

Three builds of SimulEval write such logs: 1.1.4 of the package index, the head of its repository
and the copy that StreamSpeech brings. A line of text output has a delay for each unit; a line of
speech output has one for each write, with its duration, and never holds times with compute.
`echostream.scoring.instances` reads the logs of our own sweeps and refuses what is not perfect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from echostream.scoring.instances import ScoringError
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

_MOST_NAMED = 20  # faults of one kind that are named one by one


@dataclass(frozen=True)
class Entry:
    """One line of a log; times in ms."""

    line: int
    index: int
    prediction: str  # for speech, the path of a recording
    reference: str | None
    delays: tuple[float, ...]
    elapsed: tuple[float, ...]  # empty where the build wrote none
    source_ms: float
    pieces: tuple[str, ...] | None  # SentencePiece units, where the build wrote them
    durations: tuple[float, ...] | None  # of the writes; None for text

    @property
    def is_speech(self) -> bool:
        """The output is speech."""
        return self.durations is not None


class Log(NamedTuple):
    """The lines that could be read, one for each index and in its order, and what was wrong."""

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]  # a sentence for each thing of the run that is not in the scores
    remarks: tuple[str, ...]  # and for what is odd, but lost nothing


def read_log(path: Path) -> Log:
    """Reads a log as far as possible. Of two lines with one index the later holds, as in SimulEval.

    Raises ScoringError when the file cannot be opened, holds no line that can be read, or mixes
    text and speech.
    """
    read: list[Entry] = []
    left_out: list[str] = []
    try:
        for number, line in _lines(path):
            try:
                read.append(_parse(line, number))
            except ValueError as error:
                # After the last line end comes nothing, unless the writer was stopped.
                cut = isinstance(error, BrokenLine) and not line.endswith(b"\n")
                what = "is cut off in the middle" if cut else "cannot be read"
                left_out.append(f"line {number} {what} and was left out ({error}).")
    except OSError as error:
        raise ScoringError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not read:
        reason = left_out[0] if left_out else "the file is empty."
        raise ScoringError(f"{path}: holds no utterance that can be scored: {reason}")
    if len({entry.is_speech for entry in read}) > 1:
        raise ScoringError(f"{path}: must be a log of text or of speech, but mixes both.")
    entries, remarks = _one_each(read)
    gaps = _gaps([entry.index for entry in entries])
    left_out = [*_first(left_out, "lines were left out"), *_first(gaps, "gaps")]
    return Log(
        tuple(entries), tuple(left_out), tuple(_first(remarks, "utterances are there twice"))
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each line that is not blank with its number; one that is too long, as far as it may go."""
    if path.exists() and not path.is_file():
        raise OSError("it is not a file")  # a pipe would be waited for
    number = 0
    with open(path, "rb") as file:
        while line := file.readline(MOST_BYTES + 1):
            number += 1
            rest = line
            while len(rest) > MOST_BYTES and not rest.endswith(b"\n"):
                rest = file.readline(MOST_BYTES + 1)
            if line.strip():
                yield number, line


def _first(sentences: Sequence[str], what: str) -> list[str]:
    more = len(sentences) - _MOST_NAMED
    return [*sentences[:_MOST_NAMED], *([f"{more} more {what}."] if more > 0 else [])]


def _one_each(read: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    found: dict[int, Entry] = {}
    remarks = []
    for entry in read:
        if entry.index in found:
            remarks.append(
                f"utterance {entry.index} is there twice; line {entry.line} holds, "
                f"line {found[entry.index].line} does not count."
            )
        found[entry.index] = entry
    return [found[index] for index in sorted(found)], remarks


def _gaps(indices: Sequence[int]) -> list[str]:
    gaps = []
    for before, after in pairwise(indices):
        if after - before == 2:
            gaps.append(f"utterance {before + 1} is missing.")
        elif after - before > 2:
            gaps.append(f"utterances {before + 1} to {after - 1} are missing.")
    return gaps


def _parse(line: bytes, number: int) -> Entry:
    logged = parse_line(line)
    speech = "durations" in logged
    if not speech and isinstance(logged.get("source"), str):
        raise ValueError("its source is text, whose latency is not measured in ms")
    entry = Entry(
        line=number,
        index=index_of(logged),
        prediction=text_of_field(logged, "prediction"),
        reference=optional_text(logged, "reference"),
        delays=times_of_field(logged, "delays"),
        elapsed=times_of_field(logged, "elapsed", least=-MOST_MS, optional=True),
        source_ms=length_of_source(logged),
        pieces=texts_of_field(logged, "prediction_spm") if "prediction_spm" in logged else None,
        durations=times_of_field(logged, "durations") if speech else None,
    )
    check_unused(logged)
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    num_delays = len(entry.delays)
    for name, values in (("elapsed", entry.elapsed), ("prediction_spm", entry.pieces)):
        if values and len(values) != num_delays:
            raise ValueError(f"it has {num_delays} delays, but {len(values)} {name}")
    if any(b < a for a, b in pairwise(entry.delays)):
        raise ValueError("its delays go back")
    if entry.durations is not None:
        if len(entry.durations) != num_delays or min(entry.durations, default=1) < LEAST_MS:
            raise ValueError(f"it must have {num_delays} positive durations")
        if sum(entry.durations) > MOST_SPEECH_MS:
            raise ValueError(f"its durations must be at most {MOST_SPEECH_MS:g} ms together")
    elif len(entry.prediction.split()) > num_delays:
        num_words = len(entry.prediction.split())
        raise ValueError(f"its {num_words} words have only {num_delays} delays")
