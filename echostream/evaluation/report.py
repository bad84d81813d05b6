"""The results of a sweep: rows, results.tsv, results.json and the printed table."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from echostream.evaluation.bootstrap import bleu_statistics, interval, paired_p_value, resample
from echostream.evaluation.columns import SPEECH, TEXT, Columns
from echostream.evaluation.columns import table as table_of
from echostream.evaluation.point import CTC, Point, Setup
from echostream.files import write_whole
from echostream.scoring.judge.silence import WITHOUT_SILENCE
from echostream.scoring.judge.speech import SpeechScores
from echostream.scoring.log import ScoringError, Utterance
from echostream.scoring.simuleval_scores import Scores
from echostream.scoring.simuleval_speech import ScoresOfSpeech, with_judge
from echostream.scoring.tables import json_text, tsv_text

OFFLINE = "offline"  # in the column segment_ms


@dataclass(frozen=True)
class Row:
    """The scores of one point and its comparison with the other points."""

    point: Point
    scores: Scores | ScoresOfSpeech
    low: float  # of the interval of the quality; NaN for speech without a judge
    high: float
    # Against the same point with L=0; None for L=0 itself and if there is no such point.
    p_vs_L0: float | None
    # Against the same point with the method ctc; None for ctc and if there is no such point.
    p_vs_ctc: float | None = None
    # Against the same point with K=0 rounds of refining; None as before.
    p_vs_refine0: float | None = None

    @property
    def columns(self) -> Columns:
        """The columns of the task."""
        return SPEECH if isinstance(self.scores, ScoresOfSpeech) else TEXT

    @property
    def quality(self) -> float:
        """BLEU, or ASR-BLEU; NaN for speech without a judge."""
        return float(getattr(self.scores, self.columns.quality))

    def values(self) -> dict[str, Any]:
        """The row by the names of results.tsv."""
        columns = self.columns
        scores = asdict(self.scores)
        entries: dict[str, Any] = {
            "L": self.point.max_future_frames,
            "segment_ms": OFFLINE if self.point.segment_ms is None else self.point.segment_ms,
            "algorithmic_latency_ms": self.point.algorithmic_latency_ms,
            f"{columns.quality}_lo": self.low,
            f"{columns.quality}_hi": self.high,
            "p_vs_L0": self.p_vs_L0,
            "method": self.point.method,
            "p_vs_ctc": self.p_vs_ctc,
            "refine_steps": self.point.refine_steps,
            "p_vs_refine0": self.p_vs_refine0,
        }
        return {name: entries[name] if name in entries else scores[name] for name in columns.tsv}


def build_rows(
    setup: Setup,
    points: Sequence[Point],
    num_resamples: int,
    seed: int,
    judged: Mapping[Point, SpeechScores] | None = None,
) -> list[Row]:
    """Scores finished points from their logs, with bootstrap intervals and paired tests.

    Points of speech have a quality if they are `judged`. Raises ScoringError if two points were not
    scored against the same references.
    """
    logs = {point: setup.read(point) for point in points}
    _check_same_references(logs)
    scores = {point: setup.score(log) for point, log in logs.items()}
    texts = {
        point: ([u.prediction for u in log], [u.reference or "" for u in log])
        for point, log in logs.items()
        if not setup.speaks
    }
    for point, speech in (judged or {}).items():
        own, found = scores[point], speech.versions[WITHOUT_SILENCE]
        assert isinstance(own, ScoresOfSpeech)
        scores[point] = with_judge(own, speech)
        texts[point] = [*found.texts], [choices[0] for choices in found.references]
    resampled: dict[Point, NDArray[Any]] = {}
    for point, (predictions, references) in texts.items():
        statistics = bleu_statistics(predictions, references, setup.counting.tokenizer)
        resampled[point] = resample(statistics, num_resamples, seed)
    rows = {point: Row(point, scores[point], math.nan, math.nan, None) for point in points}

    def p_value(base: Point, point: Point) -> float | None:
        if point == base or not {point, base} <= resampled.keys():
            return None
        return paired_p_value(
            rows[base].quality, rows[point].quality, resampled[base], resampled[point]
        )

    for point, row in rows.items():
        low, high = interval(resampled[point]) if point in resampled else (math.nan, math.nan)
        rows[point] = replace(
            row,
            low=low,
            high=high,
            p_vs_L0=p_value(replace(point, max_future_frames=0), point),
            p_vs_ctc=p_value(replace(point, method=CTC), point),
            p_vs_refine0=p_value(replace(point, refine_steps=0), point),
        )
    return list(rows.values())


def write_tsv(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows with exactly the columns of their task; an undefined value is an empty cell."""
    columns, values = rows[0].columns, [row.values() for row in rows]
    write_whole(path, tsv_text(columns.tsv, values, decimals=3, decimals_of=columns.decimals()))


def write_json(
    path: Path,
    rows: Sequence[Row],
    records: Mapping[Point, Mapping[str, Any]],
    about: Mapping[str, Any],
) -> None:
    """Writes `about`, and for each point its scores, command, dates and provenance."""
    points = []
    for row in rows:
        record = records[row.point]
        points.append(
            {
                "name": row.point.name,
                "stride_n": row.point.stride_n,
                **row.values(),
                "segment_ms": row.point.segment_ms,
                "offline": row.point.segment_ms is None,
                "num_utterances": row.scores.num_utterances,
                "num_empty": row.scores.num_empty,
                "command": shlex.join(record["command"]),
                **{
                    key: record[key]
                    for key in ("started", "finished", "wall_seconds", "provenance")
                },
                "shards": record.get("shards", 1),
                "parts": record.get("parts", []),  # the processes that ran the shards
            }
        )
    write_whole(path, json_text({**about, "points": points}))


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text; latencies in ms."""
    return table_of(rows[0].columns, [row.values() for row in rows])


def _check_same_references(logs: Mapping[Point, Sequence[Utterance]]) -> None:
    references = {point: [u.reference for u in log] for point, log in logs.items()}
    first = next(iter(references), None)
    for point, lines in references.items():
        if first is not None and lines != references[first]:
            raise ScoringError(
                f"{first.name} and {point.name} must have the same references, but do not."
            )
