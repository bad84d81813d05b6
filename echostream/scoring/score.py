"""The scores of one run, from the instances.log in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

import sentencepiece

from echostream.scoring.judge.speech import Judging, SpeechScores, judge_speech
from echostream.scoring.judge.transcript import JudgeError
from echostream.scoring.log import INSTANCES_LOG, Log, ScoringError, Utterance, read_log
from echostream.scoring.metrics.backlog import RunBacklog, run_backlog
from echostream.scoring.metrics.degenerate import Degeneracy, degeneracy
from echostream.scoring.metrics.discontinuity import Discontinuity, discontinuity
from echostream.scoring.metrics.quality import (
    DEFAULT_TOKENIZER,
    UNSPACED_TOKENIZER,
    Quality,
    quality,
)
from echostream.scoring.metrics.table import compute_rtf, measure
from echostream.scoring.metrics.wer import word_error_rate
from echostream.scoring.texts import composed, is_composed, references_of
from echostream.scoring.timeline import Timeline, in_characters, in_simuleval_units, in_words
from echostream.scoring.words import Unit, text_of, unit_of, word_ends
from echostream.text.normalization import TextNormalization

# If fewer predictions than this split into as many pieces as they have delays, the SentencePiece
# model is not the one that wrote them.
LEAST_SHARE_OF_PIECES = 0.5

Task = Literal["st", "asr"]
LATENCY_UNITS = ("word", "char", "spm")  # as in SimulEval


@dataclass(frozen=True)
class Options:
    """How runs are scored."""

    task: Task = "st"  # asr: also the word error rate
    processor: sentencepiece.SentencePieceProcessor | None = None  # pieces of the target
    omnisteval: ModuleType | None = None  # for YAAL
    # The unit of latency, one of LATENCY_UNITS; None: the unit of the log.
    latency_unit: str | None = None
    # Of sacrebleu; None: its default, or `char` if the run is counted in characters.
    tokenizer: str | None = None
    text: TextNormalization | None = None  # of all texts before they are compared


class MetricTable(NamedTuple):
    """Latency metrics of a run by name (None if undefined) and their number of utterances."""

    num_utterances: int
    values: dict[str, float | None]


class TextScores(NamedTuple):
    """Quality of the texts of a run in NFC."""

    quality: Quality
    # Of the texts exactly as they are in the log; None if those are the same.
    quality_as_logged: Quality | None


class Segmentation(NamedTuple):
    """For how many utterances of a run the units can be grouped into words, and how."""

    by_log: int
    by_model: int
    unknown: tuple[Utterance, ...]
    has_model: bool  # a SentencePiece model was given


@dataclass(frozen=True)
class RunScores:
    """All results of `echostream score` for one run."""

    path: Path  # of the log
    log: Log
    unit: Unit
    tokenizer: str  # of sacrebleu
    quality: Quality | None  # None for speech, and if a reference is missing
    # Of the texts as logged, if the texts compared differ from them: words joined from pieces,
    # other Unicode forms, several references.
    quality_as_logged: Quality | None
    text: TextNormalization | None  # by which texts were normalised before the comparison
    num_recomposed: int  # texts that were not in NFC
    num_several: int  # utterances with several references
    error_rate: float | None  # of words, or of characters if those are counted
    simuleval_units: MetricTable  # in the units that the build of SimulEval counted
    words: MetricTable | None  # None if the words of the units are unknown
    characters: MetricTable | None  # None if words are counted
    segmentation: Segmentation
    degeneracy: Degeneracy | None
    compute_rtf: float | None
    discontinuity: Discontinuity | None = None  # None for text
    backlog: RunBacklog | None = None  # None for text
    speech: SpeechScores | None = None  # by a judge, if there was one

    @property
    def num_empty(self) -> int:
        """Utterances with empty output; they count in the quality only."""
        return sum(not utterance.delays for utterance in self.log.utterances)


def find_log(run: Path) -> Path:
    """The log of a run folder; a path that is a file is the log itself."""
    return run if run.is_file() else run / INSTANCES_LOG


def score_run(path: Path, options: Options) -> RunScores:
    """Scores a log. Raises ScoringError if it has nothing that can be scored with the options."""
    log = read_log(path)
    unit = unit_of(log.utterances, options.latency_unit)
    _check_unit(path, unit, options)
    by_character = (
        unit == "char" if options.latency_unit is None else options.latency_unit == "char"
    )
    tokenizer = options.tokenizer or (UNSPACED_TOKENIZER if by_character else DEFAULT_TOKENIZER)
    nonempty = [utterance for utterance in log.utterances if utterance.delays]
    logged_times = [in_simuleval_units(one, unit, options.processor) for one in nonempty]
    segmentation, word_times = _group_into_words(nonempty, unit, options)
    character_times = _in_characters(path, nonempty, unit) if by_character else None
    predictions = [text_of(utterance) for utterance in log.utterances]
    references = [one.reference for one in log.utterances if one.reference is not None]
    logged = [utterance.prediction for utterance in log.utterances]
    if options.text is not None:
        predictions, logged = (list(map(options.text, texts)) for texts in (predictions, logged))
        references = ["\t".join(map(options.text, line.split("\t"))) for line in references]
    texts: TextScores | None = None
    error_rate = None
    if unit != "write" and len(references) == len(predictions):
        texts = compare_texts(predictions, references, tokenizer, logged)
        if options.task == "asr":
            error_rate = word_error_rate(
                [references_of(composed(line)) for line in references],
                list(map(composed, predictions)),
                "char" if by_character else "word",
            )
    return RunScores(
        path=path,
        log=log,
        unit=unit,
        tokenizer=tokenizer,
        quality=None if texts is None else texts.quality,
        quality_as_logged=None if texts is None else texts.quality_as_logged,
        text=options.text,
        num_recomposed=num_recomposed(log.utterances),
        num_several=sum(len(references_of(line)) > 1 for line in references),
        error_rate=error_rate,
        simuleval_units=_metrics(logged_times, options),
        words=None if word_times is None else _metrics(word_times, options),
        characters=None if character_times is None else _metrics(character_times, options),
        segmentation=segmentation,
        degeneracy=(
            None if unit == "write" else degeneracy(character_times or word_times or logged_times)
        ),
        compute_rtf=compute_rtf(logged_times),
        discontinuity=discontinuity(logged_times) if unit == "write" else None,
        backlog=run_backlog(logged_times) if unit == "write" else None,
    )


def judge_run(run: RunScores, judging: Judging, omnisteval: ModuleType | None) -> RunScores:
    """The scores with those of the speech by a judge.

    Raises ScoringError for a run of text, and if the speech cannot be judged.
    """
    if run.unit != "write":
        raise ScoringError(f"{run.path}: the output is text, which needs no judge of speech.")
    try:
        speech = judge_speech(run.path, run.log.utterances, judging, omnisteval)
    except JudgeError as error:
        raise ScoringError(f"{run.path}: {error}") from error
    return replace(run, speech=speech)


def compare_texts(
    predictions: Sequence[str], references: Sequence[str], tokenizer: str, logged: Sequence[str]
) -> TextScores:
    """Quality in NFC; a tab separates several references. `logged`: the predictions as logged."""
    texts = list(map(composed, predictions))
    choices = [references_of(composed(line)) for line in references]
    differs = list(logged) != texts or [(line,) for line in references] != choices
    return TextScores(
        quality(texts, choices, tokenizer),
        quality(logged, references, tokenizer) if differs else None,
    )


def num_recomposed(utterances: Sequence[Utterance]) -> int:
    """Predictions and references that are not in NFC."""
    return sum(not is_composed(one.prediction) for one in utterances) + sum(
        not is_composed(one.reference) for one in utterances if one.reference is not None
    )


def _check_unit(path: Path, unit: Unit, options: Options) -> None:
    wanted = options.latency_unit
    if wanted == "char" and unit == "write":
        raise ScoringError(f"{path}: the output is speech, which has no characters.")
    if wanted == "spm" and unit not in ("spm", "piece"):
        raise ScoringError(
            f"{path}: must be counted in SentencePiece pieces for `spm`, but is not."
        )


def _metrics(timelines: Sequence[Timeline], options: Options) -> MetricTable:
    return MetricTable(len(timelines), measure(timelines, options.omnisteval))


def _in_characters(path: Path, nonempty: Sequence[Utterance], unit: Unit) -> list[Timeline]:
    timelines = []
    for utterance in nonempty:
        timeline = in_characters(utterance, unit)
        if timeline is None:
            raise ScoringError(
                f"{path}, line {utterance.line}: {len(utterance.delays)} delays cannot be shared "
                "among the characters of the prediction, so the latency by character is not known."
            )
        timelines.append(timeline)
    return timelines


def _group_into_words(
    nonempty: Sequence[Utterance], unit: Unit, options: Options
) -> tuple[Segmentation, list[Timeline] | None]:
    if unit == "write":
        return Segmentation(0, 0, (), False), None
    timelines = []
    by_log = by_model = 0
    unknown = []
    for utterance in nonempty:
        ends = word_ends(utterance, unit, None)
        if ends is not None:
            by_log += 1
        else:
            ends = word_ends(utterance, unit, options.processor)
            by_model += ends is not None
        if ends is None:
            unknown.append(utterance)
        else:
            timelines.append(in_words(utterance, ends))
    segmentation = Segmentation(by_log, by_model, tuple(unknown), options.processor is not None)
    if unknown and by_model < LEAST_SHARE_OF_PIECES * (by_model + len(unknown)):
        return segmentation, None
    return segmentation, timelines
