"""The scores of a complete run of speech: latency as SimulEval counts it, backlog, and a judge's.

SimulEval cannot score all of it from a log: `OF_SIMULEVAL` are the columns that every version gets
right there, and that its own scores.tsv is compared in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import Any

from echostream.scoring.judge.silence import WITHOUT_SILENCE
from echostream.scoring.judge.speech import SpeechScores
from echostream.scoring.log import Utterance
from echostream.scoring.metrics.backlog import BACKLOG_COLUMNS, run_backlog
from echostream.scoring.metrics.discontinuity import DISCONTINUITY_COLUMNS, discontinuity
from echostream.scoring.metrics.latency import LATENCY_METRICS
from echostream.scoring.metrics.table import measure
from echostream.scoring.simuleval_scores import Counting, or_nan
from echostream.scoring.timeline import in_simuleval_units

OF_SIMULEVAL = (*LATENCY_METRICS, "StartOffset", "EndOffset", "NumChunks")
_MORE = ("ATD", "StartOffset", "EndOffset")


@dataclass(frozen=True)
class ScoresOfSpeech:
    """The scores of one run, named as in results.tsv; NaN for what is not defined or judged.

    Each write of speech is a unit of latency, and references count in words.
    """

    num_utterances: int
    num_empty: int
    source_ms: float  # of all recordings together
    AL: float
    LAAL: float
    AP: float
    DAL: float
    ATD: float
    StartOffset: float
    EndOffset: float
    NumChunks: float
    DiscontinuitySum: float
    DiscontinuityAve: float
    DiscontinuityNum: float
    BacklogLongest: float
    BacklogLongestMax: float
    BacklogEnd: float
    BacklogEndMax: float
    # By a judge.
    ASR_BLEU: float = math.nan
    ASR_chrF: float = math.nan
    ASR_WER: float = math.nan
    ASR_loops: int | None = None
    recordings: str | None = None  # what the judge gets, one of judge.silence.VERSIONS
    judge_WER: float = math.nan  # on the reference speech
    signatures: dict[str, str] = field(default_factory=dict)  # sacrebleu's

    @property
    def of_simuleval(self) -> dict[str, float]:
        """The values of SimulEval's scores.tsv."""
        return {name: float(getattr(self, name)) for name in OF_SIMULEVAL}


def score_speech(utterances: Sequence[Utterance], counting: Counting) -> ScoresOfSpeech:
    """Scores a run of speech without a judge. Raises ValueError if it is empty."""
    if not utterances:
        raise ValueError("`utterances` must hold at least one utterance, but is empty instead.")
    timelines = [
        in_simuleval_units(one, "write", None, counting.by_reference)
        for one in utterances
        if one.delays
    ]
    latency = measure(timelines, None)
    silences = discontinuity(timelines) or (math.nan,) * len(DISCONTINUITY_COLUMNS)
    waiting = run_backlog(timelines) or (math.nan,) * len(BACKLOG_COLUMNS)
    values: dict[str, Any] = {
        **{name: or_nan(latency[name]) for name in (*LATENCY_METRICS, *_MORE)},
        **dict(zip(DISCONTINUITY_COLUMNS, silences, strict=True)),
        **dict(zip(BACKLOG_COLUMNS, waiting, strict=True)),
    }
    return ScoresOfSpeech(
        num_utterances=len(utterances),
        num_empty=len(utterances) - len(timelines),
        source_ms=sum(utterance.source_ms for utterance in utterances),
        NumChunks=mean(len(one.delays) for one in timelines) if timelines else math.nan,
        **values,
    )


def with_judge(scores: ScoresOfSpeech, speech: SpeechScores) -> ScoresOfSpeech:
    """The scores with those of a judge, on the recordings without inserted silence."""
    found, own = speech.versions[WITHOUT_SILENCE], speech.reference_speech
    return replace(
        scores,
        ASR_BLEU=found.quality.BLEU,
        ASR_chrF=found.quality.chrF,
        ASR_WER=found.word_error_rate,
        ASR_loops=found.num_looped,
        recordings=WITHOUT_SILENCE,
        judge_WER=math.nan if own is None else own.word_error_rate,
        signatures=found.quality.signatures,
    )
