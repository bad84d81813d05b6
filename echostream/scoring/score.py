"""The scores of one run, from the instances.log in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

import sentencepiece

from echostream.scoring.instances import ScoringError
from echostream.scoring.log import Entry, Log, read_log
from echostream.scoring.metrics.degenerate import Degeneracy, degeneracy
from echostream.scoring.metrics.quality import (
    DEFAULT_TOKENIZER,
    UNSPACED_TOKENIZER,
    Quality,
    quality,
)
from echostream.scoring.metrics.table import compute_rtf, measure
from echostream.scoring.metrics.wer import word_error_rate
from echostream.scoring.texts import characters, composed, is_composed, references_of
from echostream.scoring.timeline import Timeline
from echostream.scoring.words import Unit, characters_of, text_of, unit_of, word_ends

LOG_NAME = "instances.log"
# Fewer predictions than this that a SentencePiece model cuts as the log does: another model's.
LEAST_SHARE_OF_PIECES = 0.5

Task = Literal["st", "asr"]
LATENCY_UNITS = ("word", "char", "spm")  # as in SimulEval


@dataclass(frozen=True)
class Options:
    """How runs are scored."""

    task: Task = "st"  # asr: also the word error rate
    processor: sentencepiece.SentencePieceProcessor | None = None  # pieces of the target
    omnisteval: ModuleType | None = None  # for YAAL
    # What latency is counted in, one of LATENCY_UNITS; None: what the log is counted in.
    latency_unit: str | None = None
    # Of sacrebleu; None: its default, or `char` where the run is counted in characters.
    tokenizer: str | None = None


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
    tokenizer: str  # of sacrebleu
    quality: Quality | None  # None for speech, and where a reference is missing
    # Of the texts as they are in the log, where those compared are others: words put together from
    # pieces, other forms of Unicode, several references.
    quality_as_logged: Quality | None
    num_recomposed: int  # texts that were not in NFC
    num_several: int  # utterances with several references
    error_rate: float | None  # of words, or of characters where those are counted
    as_built: Counted  # in the units that the build counted
    words: Counted | None  # None where the words of the units are not known
    characters: Counted | None  # None where words are counted
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
    """Scores a log. Raises ScoringError when it holds nothing that can be scored as asked."""
    log = read_log(path)
    unit = unit_of(log.entries, options.latency_unit)
    _check_unit(path, unit, options)
    by_character = (
        unit == "char" if options.latency_unit is None else options.latency_unit == "char"
    )
    tokenizer = options.tokenizer or (UNSPACED_TOKENIZER if by_character else DEFAULT_TOKENIZER)
    spoken = [entry for entry in log.entries if entry.delays]
    built = [_as_built(entry, unit, options) for entry in spoken]
    cuts, by_word = _cut_into_words(spoken, unit, options)
    by_char = [_by_characters(path, entry, unit) for entry in spoken] if by_character else None
    counted = by_char or by_word or built
    logged = [entry.prediction for entry in log.entries]
    lines = [entry.reference for entry in log.entries if entry.reference is not None]
    texts = [composed(text_of(entry)) for entry in log.entries]
    references = [references_of(composed(line)) for line in lines]
    has_quality = unit != "write" and len(lines) == len(texts)
    differs = logged != texts or [(line,) for line in lines] != references
    return RunScores(
        path=path,
        log=log,
        unit=unit,
        tokenizer=tokenizer,
        quality=quality(texts, references, tokenizer) if has_quality else None,
        quality_as_logged=(quality(logged, lines, tokenizer) if has_quality and differs else None),
        num_recomposed=sum(not is_composed(text) for text in (*logged, *lines)),
        num_several=sum(len(several) > 1 for several in references),
        error_rate=(
            word_error_rate(references, texts, "char" if by_character else "word")
            if has_quality and options.task == "asr"
            else None
        ),
        as_built=Counted(len(built), measure(built, options.omnisteval)),
        words=_counted(by_word, options),
        characters=_counted(by_char, options),
        cuts=cuts,
        degeneracy=None if unit == "write" else degeneracy(counted),
        compute_rtf=compute_rtf(built),
    )


def _check_unit(path: Path, unit: Unit, options: Options) -> None:
    asked = options.latency_unit
    if asked == "char" and unit == "write":
        raise ScoringError(f"{path}: the output is speech, which has no characters.")
    if asked == "spm" and unit not in ("spm", "piece"):
        raise ScoringError(f"{path}: was not counted in SentencePiece pieces, as `spm` says.")


def _counted(timelines: Sequence[Timeline] | None, options: Options) -> Counted | None:
    if timelines is None:
        return None
    return Counted(len(timelines), measure(timelines, options.omnisteval))


def _by_characters(path: Path, entry: Entry, unit: Unit) -> Timeline:
    times = list(zip(entry.delays, entry.elapsed or entry.delays, strict=True))
    found = characters_of(entry, unit, times)
    if found is None:
        raise ScoringError(
            f"{path}, line {entry.line}: {len(entry.delays)} delays cannot be shared among the "
            "characters of the prediction, so the latency by character is not known."
        )
    whens = found[1]
    wanted = None if entry.reference is None else references_of(entry.reference)[0]
    num_characters = len(whens) if wanted is None else max(1, len(characters(wanted)))
    return Timeline(
        tuple(when[0] for when in whens),
        tuple(when[1] for when in whens) if entry.elapsed else (),
        entry.source_ms,
        num_characters,
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
    wanted = None if entry.reference is None else references_of(entry.reference)[0]
    num_words = len(ends) if wanted is None else max(1, len(wanted.split()))
    elapsed = tuple(entry.elapsed[end] for end in ends) if entry.elapsed else ()
    delays = tuple(entry.delays[end] for end in ends)
    return Timeline(delays, elapsed, entry.source_ms, num_words)
