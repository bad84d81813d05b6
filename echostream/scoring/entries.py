"""Reading any instances.log for scoring: what cannot be read is left out and reported.

Three builds of SimulEval write such logs: 1.1.4 of the package index, the head of its repository
and the copy that StreamSpeech brings. A line of text output has a delay for each unit; a line of
speech output has one for each write, with its duration, and never holds times with compute.
`echostream.scoring.instances` reads the logs of our own sweeps and refuses what is not perfect.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from echostream.scoring.instances import ScoringError

_BROKEN = (json.JSONDecodeError, UnicodeDecodeError)


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
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScoringError(f"{path}: cannot be read: {error.strerror or error}") from error
    lines = data.split(b"\n")
    read: list[Entry] = []
    left_out: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            read.append(_parse(line, number))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            # After the last line end comes nothing, unless the writer was stopped.
            cut = number == len(lines) and isinstance(error, _BROKEN)
            what = "is cut off in the middle" if cut else "cannot be read"
            left_out.append(f"line {number} {what} and was left out ({_reason(error)}).")
    if not read:
        reason = left_out[0] if left_out else "the file is empty."
        raise ScoringError(f"{path}: holds no utterance that can be scored: {reason}")
    if len({entry.is_speech for entry in read}) > 1:
        raise ScoringError(f"{path}: must be a log of text or of speech, but mixes both.")
    entries, remarks = _one_each(read)
    left_out += _gaps([entry.index for entry in entries])
    return Log(tuple(entries), tuple(left_out), tuple(remarks))


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
    logged: Any = json.loads(line.decode("utf-8"))
    if not isinstance(logged, dict):
        raise ValueError("it is not a JSON object")
    speech = "durations" in logged
    if not speech and isinstance(logged.get("source"), str):
        raise ValueError("its source is text, whose latency is not measured in ms")
    entry = Entry(
        line=number,
        index=int(logged["index"]),
        prediction=str(logged["prediction"]),
        reference=None if logged.get("reference") is None else str(logged["reference"]),
        delays=_times(logged["delays"], "delays"),
        elapsed=_times(logged.get("elapsed") or [], "elapsed"),
        source_ms=float(logged["source_length"]),
        pieces=tuple(map(str, logged["prediction_spm"])) if "prediction_spm" in logged else None,
        durations=_times(logged["durations"], "durations") if speech else None,
    )
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    num_delays = len(entry.delays)
    for name in ("elapsed", "pieces", "durations"):
        values = getattr(entry, name)
        if values and len(values) != num_delays:
            raise ValueError(f"it has {num_delays} delays, but {len(values)} {name}")
    if not (math.isfinite(entry.source_ms) and entry.source_ms > 0):
        raise ValueError(f"`source_length` must be positive, but is {entry.source_ms}")
    if any(b < a for a, b in pairwise(entry.delays)):
        raise ValueError("its delays go back")
    if entry.durations is not None:
        if len(entry.durations) != num_delays or min(entry.durations, default=1) <= 0:
            raise ValueError(f"it must have {num_delays} positive durations")
    elif len(entry.prediction.split()) > num_delays:
        num_words = len(entry.prediction.split())
        raise ValueError(f"its {num_words} words have only {num_delays} delays")


def _times(values: Any, name: str) -> tuple[float, ...]:
    times = tuple(float(value) for value in values)
    if not all(math.isfinite(time) for time in times):
        raise ValueError(f"`{name}` must be numbers of ms, but holds one that is none")
    return times


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: {error.msg} at character {error.pos + 1}"
    return str(error)
