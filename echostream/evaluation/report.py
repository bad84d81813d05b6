"""The results of a sweep: rows, results.tsv, results.json and the printed table."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from echostream.evaluation.bootstrap import bleu_statistics, interval, paired_p_value, resample
from echostream.evaluation.point import CTC, Point, Setup
from echostream.files import write_whole
from echostream.scoring.log import INSTANCES_LOG, ScoringError, Utterance, read_complete_log
from echostream.scoring.simuleval_scores import Scores, score
from echostream.scoring.tables import json_text, tsv_text

TSV_COLUMNS = (
    *("L", "segment_ms", "algorithmic_latency_ms"),
    *("BLEU", "BLEU_lo", "BLEU_hi", "chrF"),
    *("AL", "LAAL", "AP", "DAL"),
    *("AL_CA", "LAAL_CA", "AP_CA", "DAL_CA"),
    *("compute_rtf", "p_vs_L0"),
    *("method", "p_vs_ctc"),
)
OFFLINE = "offline"  # in the column segment_ms
_MORE_DECIMALS = {"compute_rtf": 4, "p_vs_L0": 4, "p_vs_ctc": 4}


@dataclass(frozen=True)
class Row:
    """The scores of one point and its comparison with the other points."""

    point: Point
    scores: Scores
    BLEU_lo: float
    BLEU_hi: float
    # Against the same point with L=0; None for L=0 itself and if there is no such point.
    p_vs_L0: float | None
    # Against the same point with the method ctc; None for ctc and if there is no such point.
    p_vs_ctc: float | None = None

    def values(self) -> dict[str, Any]:
        """The row by the names of results.tsv."""
        segment = OFFLINE if self.point.segment_ms is None else self.point.segment_ms
        scores = asdict(self.scores)
        entries: dict[str, Any] = {
            "L": self.point.max_future_frames,
            "segment_ms": segment,
            "algorithmic_latency_ms": self.point.algorithmic_latency_ms,
            "BLEU_lo": self.BLEU_lo,
            "BLEU_hi": self.BLEU_hi,
            "p_vs_L0": self.p_vs_L0,
            "method": self.point.method,
            "p_vs_ctc": self.p_vs_ctc,
        }
        return {name: entries[name] if name in entries else scores[name] for name in TSV_COLUMNS}


def build_rows(setup: Setup, points: Sequence[Point], num_resamples: int, seed: int) -> list[Row]:
    """Score finished points from their logs, with bootstrap intervals and paired tests.

    Raises ScoringError if two points were not scored against the same references.
    """
    counting = setup.counting
    logs = {
        point: read_complete_log(setup.folder(point) / INSTANCES_LOG, unit=counting.latency_unit)
        for point in points
    }
    _check_same_references(logs)
    scores: dict[Point, Scores] = {}
    resampled: dict[Point, NDArray[Any]] = {}
    for point, log in logs.items():
        statistics = bleu_statistics(
            [u.prediction for u in log], [u.reference or "" for u in log], counting.tokenizer
        )
        scores[point] = score(log, counting)
        resampled[point] = resample(statistics, num_resamples, seed)

    def p_value(base: Point, point: Point) -> float | None:
        if point == base or base not in scores:
            return None
        return paired_p_value(
            scores[base].BLEU, scores[point].BLEU, resampled[base], resampled[point]
        )

    rows = []
    for point in points:
        low, high = interval(resampled[point])
        versus_l0 = p_value(replace(point, max_future_frames=0), point)
        versus_ctc = p_value(replace(point, method=CTC), point)
        rows.append(Row(point, scores[point], low, high, versus_l0, versus_ctc))
    return rows


def write_tsv(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows with exactly `TSV_COLUMNS`; an undefined value is an empty cell."""
    values = [row.values() for row in rows]
    write_whole(path, tsv_text(TSV_COLUMNS, values, decimals=3, decimals_of=_MORE_DECIMALS))


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
    header = ["L", "segment", "alg.", "BLEU", "95% CI", "chrF", "AL", "LAAL", "AP", "DAL"]
    header += ["AL_CA", "LAAL_CA", "AP_CA", "DAL_CA", "comp.RTF", "p vs L=0"]
    choice = any(row.point.method != CTC for row in rows)
    if choice:
        header = ["method", *header, "p vs ctc"]
    body = []
    for row in rows:
        s = row.scores
        segment = OFFLINE if row.point.segment_ms is None else str(row.point.segment_ms)
        cells = [str(row.point.max_future_frames), segment, str(row.point.algorithmic_latency_ms)]
        cells += [f"{s.BLEU:.2f}", f"{row.BLEU_lo:.2f}-{row.BLEU_hi:.2f}", f"{s.chrF:.2f}"]
        cells += [f"{s.AL:.0f}", f"{s.LAAL:.0f}", f"{s.AP:.3f}", f"{s.DAL:.0f}"]
        cells += [f"{s.AL_CA:.0f}", f"{s.LAAL_CA:.0f}", f"{s.AP_CA:.3f}", f"{s.DAL_CA:.0f}"]
        cells += [f"{s.compute_rtf:.3f}", _probability(row.p_vs_L0)]
        if choice:
            cells = [row.point.method, *cells, _probability(row.p_vs_ctc)]
        body.append(cells)
    widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in [header, *body]
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _probability(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _check_same_references(logs: Mapping[Point, Sequence[Utterance]]) -> None:
    references = {point: [u.reference for u in log] for point, log in logs.items()}
    first = next(iter(references), None)
    for point, lines in references.items():
        if first is not None and lines != references[first]:
            raise ScoringError(
                f"{first.name} and {point.name} must have the same references, but do not."
            )
