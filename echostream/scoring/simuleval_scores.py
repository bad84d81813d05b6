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
from typing import Literal

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

    latency_unit: Literal["word", "char", "spm"] = "word"
    tokenizer: str = DEFAULT_TOKENIZER  # of sacrebleu
    pieces: sentencepiece.SentencePieceProcessor | None = None  # for the unit spm
    by_reference: bool = True  # else the length of the output stands for that of the reference


WORDS = Counting()


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
        compute_rtf=_or_nan(compute_rtf(timelines)),
        num_recomposed=num_recomposed(utterances),
        BLEU_as_logged=(texts.quality_as_logged or texts.quality).BLEU,
        signatures=texts.quality.signatures,
        **{name: _or_nan(latency[name]) for name in columns},
    )


def compare_with_simuleval(scores: Scores, path: Path) -> None:
    """Raises ScoringError unless SimulEval's own scores.tsv at `path` has the same, to 1e-3.

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
                f"{path}: SimulEval has {name} = {their_value}, "
                f"but instances.log gives {our_value:.4f}."
            )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
