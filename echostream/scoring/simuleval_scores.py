"""The scores of a complete run as SimulEval counts them, and the check against its scores.tsv.

An utterance with an empty prediction counts in BLEU and chrF (as an empty hypothesis). It has no
latency and does not count in `compute_rtf`; `num_empty` is the number of such utterances.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import sentencepiece

from echostream.scoring.log import ScoringError, Utterance
from echostream.scoring.metrics.latency import LATENCY_METRICS
from echostream.scoring.metrics.quality import DEFAULT_TOKENIZER
from echostream.scoring.metrics.table import COMPUTATION_AWARE, compute_rtf, measure
from echostream.scoring.score import compare_texts, num_recomposed
from echostream.scoring.timeline import in_simuleval_units

# SimulEval rounds its columns to three decimals.
SIMULEVAL_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Counting:
    """The flags of SimulEval that set how scores are counted."""

    latency_unit: Literal["word", "char", "spm", "write"] = "word"  # write: of speech
    tokenizer: str = DEFAULT_TOKENIZER  # of sacrebleu
    pieces: sentencepiece.SentencePieceProcessor | None = None  # for the unit spm
    by_reference: bool = True  # else the length of the output stands for that of the reference


WORDS = Counting()


class LikeSimulEval(Protocol):
    """Scores of a run of text or of speech."""

    @property
    def of_simuleval(self) -> dict[str, float]:
        """The values of SimulEval's scores.tsv."""


@dataclass(frozen=True)
class Scores:
    """The scores of one run, named as in results.tsv; no latency (NaN) if all output is empty."""

    num_utterances: int
    num_empty: int
    source_ms: float  # of all recordings together
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
    # Texts that were not in NFC, in which all are compared, and BLEU of the texts as logged.
    num_recomposed: int
    BLEU_as_logged: float
    signatures: dict[str, str]  # sacrebleu's, of BLEU and chrF

    @property
    def of_simuleval(self) -> dict[str, float]:
        """The values of SimulEval's scores.tsv, whose BLEU is that of the texts as logged."""
        latency = {name: float(getattr(self, name)) for name in LATENCY_METRICS}
        return {"BLEU": self.BLEU_as_logged, **latency}


def score(utterances: Sequence[Utterance], counting: Counting = WORDS) -> Scores:
    """Scores a run that `read_complete_log` has read. Raises ValueError if it is empty."""
    if not utterances:
        raise ValueError("`utterances` must hold at least one utterance, but is empty instead.")
    predictions = [utterance.prediction for utterance in utterances]
    references = [utterance.reference or "" for utterance in utterances]
    texts = compare_texts(predictions, references, counting.tokenizer, predictions)
    timelines = [
        in_simuleval_units(one, counting.latency_unit, counting.pieces, counting.by_reference)
        for one in utterances
        if one.delays
    ]
    latency = measure(timelines, None)
    columns = [name + suffix for suffix in ("", COMPUTATION_AWARE) for name in LATENCY_METRICS]
    return Scores(
        num_utterances=len(utterances),
        num_empty=len(utterances) - len(timelines),
        source_ms=sum(utterance.source_ms for utterance in utterances),
        BLEU=texts.quality.BLEU,
        chrF=texts.quality.chrF,
        compute_rtf=or_nan(compute_rtf(timelines)),
        num_recomposed=num_recomposed(utterances),
        BLEU_as_logged=(texts.quality_as_logged or texts.quality).BLEU,
        signatures=texts.quality.signatures,
        **{name: or_nan(latency[name]) for name in columns},
    )


def compare_with_simuleval(scores: LikeSimulEval, path: Path) -> None:
    """Raises ScoringError unless SimulEval's own scores.tsv at `path` has the same, to 1e-3."""
    ours = scores.of_simuleval
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        theirs = {name: float(rows[0][name]) for name in ours}
    except (OSError, KeyError, IndexError, TypeError, ValueError, csv.Error) as error:
        raise ScoringError(f"{path}: is not a score table of SimulEval: {error!r}") from error
    for name, their_value in theirs.items():
        if not abs(ours[name] - their_value) <= SIMULEVAL_TOLERANCE:
            raise ScoringError(
                f"{path}: SimulEval has {name} = {their_value}, "
                f"but instances.log gives {ours[name]:.4f}."
            )


def or_nan(value: float | None) -> float:
    """NaN for None."""
    return math.nan if value is None else value
