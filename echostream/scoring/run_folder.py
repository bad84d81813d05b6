"""The scores of one run, from the instances.log in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

import sentencepiece

from echostream.scoring.degenerate import Degeneracy, degeneracy
from echostream.scoring.entries import Entry, Log, read_log
from echostream.scoring.measures import compute_rtf, measure
from echostream.scoring.quality import Quality, quality
from echostream.scoring.timeline import Timeline
from echostream.scoring.wer import word_error_rate
from echostream.scoring.words import Unit, text_of, unit_of, word_ends

LOG_NAME = "instances.log"
# Fewer predictions than this that a SentencePiece model cuts as the log does: another model's.
LEAST_SHARE_OF_PIECES = 0.5

Task = Literal["st", "asr"]


@dataclass(frozen=True)
class Options:
    """How runs are scored."""

    task: Task = "st"  # asr: also the word error rate
    processor: sentencepiece.SentencePieceProcessor | None = None  # pieces of the target
    omnisteval: ModuleType | None = None  # for YAAL


class Counted(NamedTuple):
    """Latency metrics of a run by name (None where undefined), over so many utterances."""

    num_utterances: int
    values: dict[str, float | None]


class Cuts(NamedTuple):
    """Utterances of a run whose units can be put together to words, by how that is known."""

    by_log: int
    by_model: int
    unknown: tuple[Entry, ...]
    has_model: bool  # a model of the pieces was given


@dataclass(frozen=True)
class RunScores:
    """Everything `echostream score` says about one run."""

    path: Path  # of the log
    log: Log
    unit: Unit
    quality: Quality | None  # None for speech, and where a reference is missing
    quality_as_logged: Quality | None  # of predictions that are still pieces
    wer: float | None
    as_built: Counted  # in the units that the build counted
    words: Counted | None  # None where the words of the units are not known
    cuts: Cuts
    degeneracy: Degeneracy | None
    compute_rtf: float | None

    @property
    def num_empty(self) -> int:
        """Utterances of which nothing was written; they count in the quality alone."""
        return sum(not entry.delays for entry in self.log.entries)


def find_log(run: Path) -> Path:
    """The log of a run folder; a path that is a file is the log itself."""
    return run if run.is_file() else run / LOG_NAME


def score_run(path: Path, options: Options) -> RunScores:
    """Scores a log. Raises ScoringError when it holds nothing that can be scored."""
    log = read_log(path)
    unit = unit_of(log.entries)
    spoken = [entry for entry in log.entries if entry.delays]
    built = [_as_built(entry, unit, options) for entry in spoken]
    cuts, cut = _cut_into_words(spoken, unit, options)
    texts = [text_of(entry) for entry in log.entries]
    references = [entry.reference for entry in log.entries if entry.reference is not None]
    has_quality = unit != "write" and len(references) == len(texts)
    logged = [entry.prediction for entry in log.entries]
    return RunScores(
        path=path,
        log=log,
        unit=unit,
        quality=quality(texts, references) if has_quality else None,
        quality_as_logged=quality(logged, references) if has_quality and logged != texts else None,
        wer=word_error_rate(references, texts) if has_quality and options.task == "asr" else None,
        as_built=Counted(len(built), measure(built, options.omnisteval)),
        words=None if cut is None else Counted(len(cut), measure(cut, options.omnisteval)),
        cuts=cuts,
        degeneracy=None if unit == "write" else degeneracy(built if cut is None else cut),
        compute_rtf=compute_rtf(built),
    )


def _as_built(entry: Entry, unit: Unit, options: Options) -> Timeline:
    return Timeline(
        entry.delays,
        entry.elapsed,
        entry.source_ms,
        _units_of_reference(entry, unit, options),
        entry.durations or (),
    )


def _units_of_reference(entry: Entry, unit: Unit, options: Options) -> int | None:
    """The length of the reference as SimulEval counts it; without one it takes the output's."""
    if entry.reference is None:
        return len(entry.delays)
    if unit == "char":
        return len(entry.reference.strip()) or None
    if unit == "spm":
        return len(options.processor.encode(entry.reference)) or None if options.processor else None
    return len(entry.reference.split(" "))


def _cut_into_words(
    spoken: Sequence[Entry], unit: Unit, options: Options
) -> tuple[Cuts, list[Timeline] | None]:
    if unit == "write":
        return Cuts(0, 0, (), False), None
    timelines = []
    by_log = by_model = 0
    unknown = []
    for entry in spoken:
        ends = word_ends(entry, unit, None)
        if ends is not None:
            by_log += 1
        else:
            ends = word_ends(entry, unit, options.processor)
            by_model += ends is not None
        if ends is None:
            unknown.append(entry)
        else:
            timelines.append(_by_words(entry, ends))
    cuts = Cuts(by_log, by_model, tuple(unknown), options.processor is not None)
    if unknown and by_model < LEAST_SHARE_OF_PIECES * (by_model + len(unknown)):
        return cuts, None
    return cuts, timelines


def _by_words(entry: Entry, ends: Sequence[int]) -> Timeline:
    num_words = len(ends) if entry.reference is None else max(1, len(entry.reference.split()))
    elapsed = tuple(entry.elapsed[end] for end in ends) if entry.elapsed else ()
    delays = tuple(entry.delays[end] for end in ends)
    return Timeline(delays, elapsed, entry.source_ms, num_words)
