"""From SimulEval's instances.log to the scores of one point: quality, latency and compute.

A log line without a word of prediction counts in BLEU and chrF (as an empty hypothesis) and is
left out of the latency and of `compute_rtf`, for which it says nothing; `num_empty` counts such
lines.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import sentencepiece

from echostream.scoring.log_line import (
    MOST_BYTES,
    MOST_MS,
    check_unused,
    index_of,
    length_of_source,
    parse_line,
    text_of_field,
    texts_of_field,
    times_of_field,
)
from echostream.scoring.metrics.latency import LATENCY_METRICS
from echostream.scoring.metrics.quality import DEFAULT_TOKENIZER, Quality, quality
from echostream.scoring.texts import composed, is_composed

__all__ = [
    "LATENCY_METRICS",
    "Counting",
    "LoggedUtterance",
    "Scores",
    "ScoringError",
    "compare_with_simuleval",
    "compute_rtf",
    "parse_utterance",
    "read_instances",
    "score",
    "signatures",
]

# SimulEval rounds its columns to three decimals.
SIMULEVAL_TOLERANCE = 1e-3


class ScoringError(ValueError):
    """A log that cannot be scored; the message names the file and what is wrong in it."""


@dataclass(frozen=True)
class LoggedUtterance:
    """One line of instances.log."""

    index: int
    prediction: str
    reference: str
    delays_ms: tuple[float, ...]  # one per unit of the prediction
    elapsed_ms: tuple[float, ...]  # the same plus the compute until then
    source_ms: float


@dataclass(frozen=True)
class Counting:
    """How SimulEval was told to count, by its flags `--eval-latency-unit` and so on."""

    latency_unit: str = "word"  # or char or spm
    tokenizer: str = DEFAULT_TOKENIZER  # of sacrebleu
    pieces: sentencepiece.SentencePieceProcessor | None = None  # for the unit spm
    by_reference: bool = True  # its length counts; else that of the prediction

    def target_units(self, utterance: LoggedUtterance) -> int:
        """The units that the source is shared among, as SimulEval counts them."""
        reference = utterance.reference
        if not self.by_reference:
            return len(utterance.delays_ms)
        if self.latency_unit == "char":
            return max(1, len(reference.strip()))
        if self.latency_unit == "spm" and self.pieces is not None:
            return max(1, len(self.pieces.encode(reference)))
        return len(reference.split(" "))


WORDS = Counting()


@dataclass(frozen=True)
class Scores:
    """The scores of one point, named as in results.tsv; NaN where no utterance has a word."""

    num_utterances: int
    num_empty: int
    BLEU: float
    chrF: float
    AL: float
    LAAL: float
    AP: float
    DAL: float
    AL_CA: float
    LAAL_CA: float
    AP_CA: float
    DAL_CA: float
    compute_rtf: float
    # Texts that were not in NFC, in which all are compared, and BLEU of them as they are.
    num_recomposed: int
    BLEU_as_logged: float


def read_instances(
    path: Path, num_expected: int | None = None, unit: str = WORDS.latency_unit
) -> list[LoggedUtterance]:
    """Read an instances.log of a speech-to-text run with a latency unit of SimulEval.

    Raises ScoringError when a line cannot be read, when times and words do not match, or when the
    indices are not 0, 1, ..., `num_expected` - 1.
    """
    utterances = []
    try:
        with open(path, "rb") as file:
            lines = iter(lambda: file.readline(MOST_BYTES + 1), b"")
            for number, line in enumerate(lines, start=1):
                try:
                    utterances.append(parse_utterance(line, unit))
                except ValueError as error:
                    raise ScoringError(f"{path}, line {number}: {error}") from error
    except OSError as error:
        raise ScoringError(f"{path}: cannot be read: {error}") from error
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


def score(utterances: Sequence[LoggedUtterance], counting: Counting = WORDS) -> Scores:
    """Score one run. Raises ValueError when there is no utterance."""
    if not utterances:
        raise ValueError("`utterances` must hold at least one utterance, but is empty instead.")
    texts = [(utterance.prediction, utterance.reference) for utterance in utterances]
    found = _quality(texts, counting)
    num_recomposed = sum(not is_composed(text) for pair in texts for text in pair)
    spoken = [utterance for utterance in utterances if utterance.delays_ms]
    return Scores(
        num_utterances=len(utterances),
        num_empty=len(utterances) - len(spoken),
        BLEU=found.BLEU,
        chrF=found.chrF,
        compute_rtf=compute_rtf(spoken),
        num_recomposed=num_recomposed,
        BLEU_as_logged=(
            quality([a for a, _ in texts], [b for _, b in texts], counting.tokenizer).BLEU
            if num_recomposed
            else found.BLEU
        ),
        **_latency(spoken, counting),
    )


def _quality(texts: Sequence[tuple[str, str]], counting: Counting) -> Quality:
    predictions = [composed(prediction) for prediction, _ in texts]
    return quality(predictions, [composed(reference) for _, reference in texts], counting.tokenizer)


def compute_rtf(utterances: Sequence[LoggedUtterance]) -> float:
    """Seconds of compute per second of audio, counted until the last word of each utterance.

    The compute is `elapsed - delay` of the last word; what is computed after it leaves no trace
    in the log. NaN when no utterance has a word.
    """
    spoken = [utterance for utterance in utterances if utterance.delays_ms]
    audio_ms = sum(utterance.source_ms for utterance in spoken)
    compute_ms = sum(utterance.elapsed_ms[-1] - utterance.delays_ms[-1] for utterance in spoken)
    return compute_ms / audio_ms if audio_ms > 0 else math.nan


def signatures(utterances: Sequence[LoggedUtterance], counting: Counting = WORDS) -> dict[str, str]:
    """sacrebleu's signatures of the two quality metrics, which say how they were computed."""
    return _quality([(u.prediction, u.reference) for u in utterances], counting).signatures


def compare_with_simuleval(scores: Scores, path: Path) -> None:
    """Raise ScoringError unless SimulEval's own scores.tsv at `path` says the same, to 1e-3.

    SimulEval compares texts as they are logged, so its BLEU is that of `BLEU_as_logged`.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        theirs = {name: float(rows[0][name]) for name in ("BLEU", *LATENCY_METRICS)}
    except (OSError, KeyError, IndexError, TypeError, ValueError, csv.Error) as error:
        raise ScoringError(f"{path}: is not a score table of SimulEval: {error!r}") from error
    for name, their_value in theirs.items():
        our_value = float(getattr(scores, {"BLEU": "BLEU_as_logged"}.get(name, name)))
        if not abs(our_value - their_value) <= SIMULEVAL_TOLERANCE:
            raise ScoringError(
                f"{path}: SimulEval says {name} = {their_value}, "
                f"but instances.log gives {our_value:.4f}."
            )


def _latency(spoken: Sequence[LoggedUtterance], counting: Counting) -> dict[str, float]:
    means = {}
    units = [counting.target_units(utterance) for utterance in spoken]
    for name, metric in LATENCY_METRICS.items():
        for suffix, attribute in (("", "delays_ms"), ("_CA", "elapsed_ms")):
            values = [
                metric(getattr(u, attribute), u.source_ms, number)
                for u, number in zip(spoken, units, strict=True)
            ]
            means[name + suffix] = mean(values) if values else math.nan
    return means


_SPLIT: dict[str, Callable[[str], Sequence[str]]] = {"word": str.split, "char": list}
_NAMES = {"word": "words", "char": "characters", "spm": "pieces"}


def parse_utterance(line: bytes, unit: str = WORDS.latency_unit) -> LoggedUtterance:
    """A line of a log that is perfect. Raises ValueError saying what is wrong."""
    try:
        entry = parse_line(line)
        utterance = LoggedUtterance(
            index=index_of(entry),
            prediction=text_of_field(entry, "prediction"),
            reference=text_of_field(entry, "reference"),
            delays_ms=times_of_field(entry, "delays"),
            elapsed_ms=times_of_field(entry, "elapsed", least=-MOST_MS),
            source_ms=length_of_source(entry),
        )
        check_unused(entry)
        if unit == "spm":
            units: Sequence[str] = texts_of_field(entry, "prediction_spm")
        else:
            units = _SPLIT[unit](utterance.prediction)
    except ValueError as error:
        raise ValueError(f"is not an instance of SimulEval: {error}.") from error
    if not len(units) == len(utterance.delays_ms) == len(utterance.elapsed_ms):
        name = _NAMES[unit]
        raise ValueError(
            f"must have one delay and one elapsed time per {name[:-1]}, but has "
            f"{len(units)} {name}, {len(utterance.delays_ms)} delays and "
            f"{len(utterance.elapsed_ms)} elapsed times instead."
        )
    return utterance
