"""What a sweep leaves behind: rows, results.tsv, results.json and the printed table."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from echostream.evaluation.bootstrap import bleu_statistics, interval, paired_p_value, resample
from echostream.evaluation.point import CTC, INSTANCES, Point, Setup
from echostream.files import write_whole
from echostream.scoring.instances import (
    LoggedUtterance,
    Scores,
    ScoringError,
    read_instances,
    score,
)

TSV_COLUMNS = (
    *("L", "segment_ms", "algorithmic_latency_ms"),
    *("BLEU", "BLEU_lo", "BLEU_hi", "chrF"),
    *("AL", "LAAL", "AP", "DAL"),
    *("AL_CA", "LAAL_CA", "AP_CA", "DAL_CA"),
    *("compute_rtf", "p_vs_L0"),
    *("method", "p_vs_ctc"),
)
OFFLINE = "offline"  # in the column segment_ms


@dataclass(frozen=True)
class Row:
    """The scores of one point, with what they mean beside the other points."""

    point: Point
    scores: Scores
    BLEU_lo: float
    BLEU_hi: float
    # Against L=0, the rest being the same; None for L=0 itself and where there is no L=0.
    p_vs_L0: float | None
    # Against the method ctc, the rest being the same; None for ctc and where there is no ctc.
    p_vs_ctc: float | None = None

    def values(self) -> dict[str, Any]:
        """The row by the names of results.tsv."""
        segment = OFFLINE if self.point.segment_ms is None else self.point.segment_ms
        entries: dict[str, Any] = {
            "L": self.point.max_future_frames,
            "segment_ms": segment,
            "algorithmic_latency_ms": self.point.algorithmic_latency_ms,
            **asdict(self.scores),
            "BLEU_lo": self.BLEU_lo,
            "BLEU_hi": self.BLEU_hi,
            "p_vs_L0": self.p_vs_L0,
            "method": self.point.method,
            "p_vs_ctc": self.p_vs_ctc,
        }
        return {name: entries[name] for name in TSV_COLUMNS}


def build_rows(setup: Setup, points: Sequence[Point], num_resamples: int, seed: int) -> list[Row]:
    """Score finished points from their logs, with bootstrap intervals and paired tests.

    Raises ScoringError when two points were not scored against the same references.
    """
    counting = setup.counting
    logs = {
        point: read_instances(setup.folder(point) / INSTANCES, unit=counting.latency_unit)
        for point in points
    }
    _check_same_references(logs)
    scores: dict[Point, Scores] = {}
    resampled: dict[Point, NDArray[Any]] = {}
    for point, log in logs.items():
        statistics = bleu_statistics(
            [u.prediction for u in log], [u.reference for u in log], counting.tokenizer
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
    """Write rows with exactly `TSV_COLUMNS`; an undefined value is an empty cell."""
    lines = ["\t".join(TSV_COLUMNS)]
    for row in rows:
        lines.append("\t".join(_cell(name, value) for name, value in row.values().items()))
    write_whole(path, "\n".join(lines) + "\n")


def write_json(
    path: Path,
    rows: Sequence[Row],
    records: Mapping[Point, Mapping[str, Any]],
    about: Mapping[str, Any],
) -> None:
    """Write `about`, and for each point its scores, command, dates and provenance."""
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
                "parts": record.get("parts", []),  # the processes that the shards took
            }
        )
    text = json.dumps(_without_nan({**about, "points": points}), indent=2, allow_nan=False)
    write_whole(path, text + "\n")


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


def _cell(name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if name in ("compute_rtf", "p_vs_L0", "p_vs_ctc") else f"{value:.3f}"
    return str(value)


def _without_nan(value: Any) -> Any:
    """The same JSON value with null for NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def _check_same_references(logs: Mapping[Point, Sequence[LoggedUtterance]]) -> None:
    references = {point: [u.reference for u in log] for point, log in logs.items()}
    first = next(iter(references), None)
    for point, lines in references.items():
        if first is not None and lines != references[first]:
            raise ScoringError(
                f"{first.name} and {point.name} must have the same references, but do not."
            )
