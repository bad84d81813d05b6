"""The utterances of a run, from the log of any SimulEval or of simulstream, with their scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sacrebleu.metrics.bleu import BLEU

from echostream.scoring.log import Log, ScoringError, Utterance, read_log
from echostream.scoring.long_form import SIMULSTREAM, log_format
from echostream.scoring.metrics.latency import LATENCY_METRICS
from echostream.scoring.simulstream_log import detokenizer_config, read_simulstream_log
from echostream.scoring.texts import composed, references_of
from echostream.scoring.timeline import Timeline, in_simuleval_units, in_words
from echostream.scoring.words import text_of, unit_of, word_ends

METRICS = ("AL", "LAAL")


@dataclass(frozen=True)
class Shown:
    """An utterance of a run; times in ms."""

    name: str
    recording: Path | None
    words: tuple[str, ...]
    delays: tuple[float, ...]  # of the words
    elapsed: tuple[float, ...]  # empty if unknown
    source_ms: float
    reference: str | None
    bleu: float | None  # of the sentence, by sacrebleu
    lags: dict[str, float | None]  # of `METRICS`
    reference_words: int | None


def read_run(log: Path) -> list[Shown]:
    """The utterances of a log.

    Raises ScoringError naming the file if it cannot be read or is the log of speech.
    """
    if log_format(log) == SIMULSTREAM:
        return _read_simulstream(log)
    found = read_log(log)
    unit = unit_of(found.utterances)
    if unit == "write":
        raise ScoringError(f"{log}: the output is speech, of which there is no timeline of words.")
    recordings = _recordings(log, found)
    return [_shown(one, unit, recordings.get(one.line)) for one in found.utterances]


def _shown(one: Utterance, unit: Any, recording: Path | None) -> Shown:
    words, timeline = _words_of(one, unit)
    bleu = None
    if one.reference is not None:
        choices = list(references_of(composed(one.reference)))
        bleu = BLEU(effective_order=True).sentence_score(composed(text_of(one)), choices).score
    name = f"{one.index}" if recording is None else recording.stem
    lags = {metric: _lag(metric, timeline) for metric in METRICS}
    return Shown(
        name,
        recording,
        words,
        timeline.delays,
        timeline.elapsed,
        one.source_ms,
        one.reference,
        bleu,
        lags,
        timeline.reference_units,
    )


def _words_of(one: Utterance, unit: Any) -> tuple[tuple[str, ...], Timeline]:
    """The words with their times; the units of the log where its words are unknown."""
    ends = word_ends(one, unit, None) if one.delays else None
    words = tuple(text_of(one).split())
    if ends is not None and len(words) == len(ends):
        return words, in_words(one, ends)
    timeline = in_simuleval_units(one, unit, None)
    units = words if len(words) == len(timeline.delays) else tuple(one.prediction)
    if len(units) != len(timeline.delays):
        units = tuple(f"{n + 1}" for n in range(len(timeline.delays)))
    return units, timeline


def _lag(metric: str, timeline: Timeline) -> float | None:
    if not timeline.delays or not timeline.reference_units or timeline.source_ms <= 0:
        return None
    return LATENCY_METRICS[metric](timeline.delays, timeline.source_ms, timeline.reference_units)


def _recordings(log: Path, found: Log) -> dict[int, Path]:
    """The paths of the recordings by the lines of a log."""
    lines = log.read_text(encoding="utf-8").split("\n")  # JSON may hold other line separators
    paths = {}
    for one in found.utterances:
        source = json.loads(lines[one.line - 1]).get("source")
        first = source[0] if isinstance(source, list) and source else source
        if isinstance(first, str):
            paths[one.line] = Path(first)
    return paths


def _read_simulstream(log: Path) -> list[Shown]:
    """The final words; there is no reference."""
    with detokenizer_config(None, "word") as config:
        found = read_simulstream_log(log, config)
    return [
        Shown(
            *(one.name, one.wav, one.words, one.delays, one.elapsed, one.source_ms),
            *(None, None, dict.fromkeys(METRICS), None),
        )
        for one in found.recordings
    ]


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are known; None without one."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
