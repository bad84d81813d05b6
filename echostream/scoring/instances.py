"""From SimulEval's instances.log to the scores of one point: quality, latency and compute.

A log line without a word of prediction counts in BLEU and chrF (as an empty hypothesis) and is
left out of the latency and of `compute_rtf`, for which it says nothing; `num_empty` counts such
lines.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from echostream.scoring.latency import LATENCY_METRICS
from echostream.scoring.quality import quality

__all__ = [
    "LATENCY_METRICS",
    "LoggedUtterance",
    "Scores",
    "ScoringError",
    "compare_with_simuleval",
    "compute_rtf",
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
    delays_ms: tuple[float, ...]  # one per word of the prediction
    elapsed_ms: tuple[float, ...]  # the same plus the compute until then
    source_ms: float

    @property
    def reference_words(self) -> int:
        """Words of the reference as SimulEval counts them: pieces between single spaces."""
        return len(self.reference.split(" "))


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


def read_instances(path: Path, num_expected: int | None = None) -> list[LoggedUtterance]:
    """Read an instances.log of a speech-to-text run with the latency unit `word`.

    Raises ScoringError when a line cannot be read, when times and words do not match, or when the
    indices are not 0, 1, ..., `num_expected` - 1.
    """
    utterances = []
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                utterances.append(_parse(line, f"{path}, line {number}"))
    except (OSError, UnicodeDecodeError) as error:
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


def score(utterances: Sequence[LoggedUtterance]) -> Scores:
    """Score one run. Raises ValueError when there is no utterance."""
    if not utterances:
        raise ValueError("`utterances` must hold at least one utterance, but is empty instead.")
    found = quality([u.prediction for u in utterances], [u.reference for u in utterances])
    spoken = [utterance for utterance in utterances if utterance.delays_ms]
    return Scores(
        num_utterances=len(utterances),
        num_empty=len(utterances) - len(spoken),
        BLEU=found.BLEU,
        chrF=found.chrF,
        compute_rtf=compute_rtf(spoken),
        **_latency(spoken),
    )


def compute_rtf(utterances: Sequence[LoggedUtterance]) -> float:
    """Seconds of compute per second of audio, counted until the last word of each utterance.

    The compute is `elapsed - delay` of the last word; what is computed after it leaves no trace
    in the log. NaN when no utterance has a word.
    """
    spoken = [utterance for utterance in utterances if utterance.delays_ms]
    audio_ms = sum(utterance.source_ms for utterance in spoken)
    compute_ms = sum(utterance.elapsed_ms[-1] - utterance.delays_ms[-1] for utterance in spoken)
    return compute_ms / audio_ms if audio_ms > 0 else math.nan


def signatures(utterances: Sequence[LoggedUtterance]) -> dict[str, str]:
    """sacrebleu's signatures of the two quality metrics, which say how they were computed."""
    predictions = [utterance.prediction for utterance in utterances]
    return quality(predictions, [utterance.reference for utterance in utterances]).signatures


def compare_with_simuleval(scores: Scores, path: Path) -> None:
    """Raise ScoringError unless SimulEval's own scores.tsv at `path` says the same, to 1e-3."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        theirs = {name: float(rows[0][name]) for name in ("BLEU", *LATENCY_METRICS)}
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ScoringError(f"{path}: is not a score table of SimulEval: {error!r}") from error
    for name, their_value in theirs.items():
        our_value = float(getattr(scores, name))
        if not abs(our_value - their_value) <= SIMULEVAL_TOLERANCE:
            raise ScoringError(
                f"{path}: SimulEval says {name} = {their_value}, "
                f"but instances.log gives {our_value:.4f}."
            )


def _latency(spoken: Sequence[LoggedUtterance]) -> dict[str, float]:
    means = {}
    for name, metric in LATENCY_METRICS.items():
        for suffix, attribute in (("", "delays_ms"), ("_CA", "elapsed_ms")):
            values = [metric(getattr(u, attribute), u.source_ms, u.reference_words) for u in spoken]
            means[name + suffix] = mean(values) if values else math.nan
    return means


def _parse(line: str, where: str) -> LoggedUtterance:
    try:
        entry = json.loads(line)
        utterance = LoggedUtterance(
            index=int(entry["index"]),
            prediction=str(entry["prediction"]),
            reference=str(entry["reference"]),
            delays_ms=tuple(float(value) for value in entry["delays"]),
            elapsed_ms=tuple(float(value) for value in entry["elapsed"]),
            source_ms=float(entry["source_length"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ScoringError(f"{where}: is not an instance of SimulEval: {error!r}") from error
    num_words = len(utterance.prediction.split())
    if not num_words == len(utterance.delays_ms) == len(utterance.elapsed_ms):
        raise ScoringError(
            f"{where}: must have one delay and one elapsed time per word, but has "
            f"{num_words} words, {len(utterance.delays_ms)} delays and "
            f"{len(utterance.elapsed_ms)} elapsed times instead."
        )
    if utterance.source_ms <= 0:
        raise ScoringError(
            f"{where}: `source_length` must be positive, but is {utterance.source_ms}."
        )
    return utterance
