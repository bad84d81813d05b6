"""The columns of a sweep: those of results.tsv, and those of the printed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from echostream.evaluation.point import CTC
from echostream.scoring.metrics.backlog import BACKLOG_COLUMNS
from echostream.scoring.metrics.discontinuity import DISCONTINUITY_COLUMNS
from echostream.scoring.metrics.latency import LATENCY_METRICS
from echostream.scoring.metrics.table import COMPUTATION_AWARE


class Cell(NamedTuple):
    """A column of the printed table: a value, or several with a dash between them."""

    title: str
    form: str  # of `format`
    names: tuple[str, ...]

    def text(self, values: Mapping[str, Any]) -> str:
        """The cell of a row; a dash if a value is unknown."""
        found = [values.get(name) for name in self.names]
        if any(value is None or value != value for value in found):  # NaN differs from itself
            return "-"
        return "-".join(format(value, self.form) for value in found)


@dataclass(frozen=True)
class Columns:
    """The columns of one task."""

    quality: str  # the score of which there are intervals and p-values
    tsv: tuple[str, ...]
    cells: tuple[Cell, ...]
    panels: tuple[tuple[str, str], ...]  # of the picture: a latency, and its name in words

    @property
    def title(self) -> str:
        """The quality in words."""
        return self.quality.replace("_", "-")

    def decimals(self) -> dict[str, int]:
        """The decimals in results.tsv, of columns that do not have three."""
        return {name: 4 for name in self.tsv if name.startswith("p_vs_") or name == "compute_rtf"}


def _cell(title: str, form: str, *names: str) -> Cell:
    return Cell(title, form, names or (title,))


_WHERE = (
    _cell("method", "", "method"),
    _cell("K", "", "refine_steps"),
    _cell("L", ""),
    _cell("segment", "", "segment_ms"),
    _cell("alg.", "", "algorithmic_latency_ms"),
)
_P_VALUES = (
    _cell("p vs L=0", ".3f", "p_vs_L0"),
    _cell("p vs ctc", ".3f", "p_vs_ctc"),
    _cell("p vs K=0", ".3f", "p_vs_refine0"),
)
_AL = ("AL", "Average Lagging, AL (ms)")
_AWARE = tuple(name + COMPUTATION_AWARE for name in LATENCY_METRICS)

TEXT = Columns(
    quality="BLEU",
    tsv=(
        *("L", "segment_ms", "algorithmic_latency_ms"),
        *("BLEU", "BLEU_lo", "BLEU_hi", "chrF"),
        *(*LATENCY_METRICS, *_AWARE),
        *("compute_rtf", "p_vs_L0"),
        *("method", "p_vs_ctc"),
    ),
    cells=(
        *_WHERE,
        _cell("BLEU", ".2f"),
        _cell("95% CI", ".2f", "BLEU_lo", "BLEU_hi"),
        _cell("chrF", ".2f"),
        *(_cell(name, ".3f" if "AP" in name else ".0f") for name in (*LATENCY_METRICS, *_AWARE)),
        _cell("comp.RTF", ".3f", "compute_rtf"),
        *_P_VALUES,
    ),
    panels=(_AL, ("LAAL", "Length-Adaptive Average Lagging, LAAL (ms)")),
)
SPEECH = Columns(
    quality="ASR_BLEU",
    tsv=(
        *("L", "segment_ms", "algorithmic_latency_ms"),
        *("ASR_BLEU", "ASR_BLEU_lo", "ASR_BLEU_hi", "ASR_chrF", "ASR_WER", "ASR_loops"),
        *("recordings", "judge_WER"),
        *(*LATENCY_METRICS, "ATD", "StartOffset", "EndOffset", "NumChunks"),
        *(*DISCONTINUITY_COLUMNS, *BACKLOG_COLUMNS),
        *("p_vs_L0", "method", "p_vs_ctc", "refine_steps", "p_vs_refine0"),
    ),
    cells=(
        *_WHERE,
        _cell("ASR-BLEU", ".2f", "ASR_BLEU"),
        _cell("95% CI", ".2f", "ASR_BLEU_lo", "ASR_BLEU_hi"),
        _cell("ASR-chrF", ".2f", "ASR_chrF"),
        _cell("WER", ".2f", "ASR_WER"),
        _cell("loops", "", "ASR_loops"),
        *(_cell(name, ".0f") for name in ("AL", "ATD", "StartOffset", "EndOffset")),
        _cell("chunks", ".1f", "NumChunks"),
        _cell("gaps", ".2f", "DiscontinuityNum"),
        _cell("gaps ms", ".0f", "DiscontinuitySum"),
        _cell("backlog", ".0f", "BacklogLongest"),
        _cell("max", ".0f", "BacklogLongestMax"),
        _cell("at end", ".0f", "BacklogEnd"),
        _cell("end max", ".0f", "BacklogEndMax"),
        *_P_VALUES,
    ),
    panels=(_AL, ("ATD", "Average Token Delay, ATD (ms)")),
)


def table(columns: Columns, rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as aligned text, without the columns in which there is nothing to tell."""
    if all(row["method"] == CTC for row in rows):
        rows = [{**row, "method": None} for row in rows]
    printed = [[cell.title, *(cell.text(row) for row in rows)] for cell in columns.cells]
    printed = [column for column in printed if set(column[1:]) != {"-"}]
    widths = [max(map(len, column)) for column in printed]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in zip(*printed, strict=True)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
