"""The picture of a sweep: BLEU against AL and against LAAL, one line for each look-ahead L."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eval.report import Row

# Okabe and Ito's colours, told apart with any colour vision; the markers differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "echostream",  # the same rows give the same file
}


def draw(rows: Sequence[Row], title: str, paths: Sequence[Path]) -> None:
    """Draw the rows of one `stride_n` and save the figure to each of `paths` (.png, .svg).

    An offline row is a dashed horizontal line: at its place on the axis of latency it would squeeze
    the others.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=11)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, metric, words in (
            (panels[0], "AL", "Average Lagging, AL (ms)"),
            (panels[1], "LAAL", "Length-Adaptive Average Lagging, LAAL (ms)"),
        ):
            _panel(axes, rows, metric)
            axes.set_xlabel(words)
            axes.grid(True, color="#DDDDDD", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.margins(x=0.15, y=0.12)
        low, high = panels[0].get_ylim()
        if high - low < 1:  # no drama where BLEU hardly changes
            panels[0].set_ylim((low + high - 1) / 2, (low + high + 1) / 2)
        panels[0].set_ylabel("BLEU (error bars: 95 % bootstrap interval)")
        handles, labels = panels[0].get_legend_handles_labels()
        if handles:
            order = sorted(range(len(labels)), key=labels.__getitem__)  # each L with its offline
            figure.legend(
                [handles[place] for place in order],
                [labels[place] for place in order],
                loc="outside lower center",
                ncols=len(labels) if len(labels) <= 4 else len(labels) // 2,
                frameon=False,
            )
        for path in paths:
            _save(figure, path)


def _panel(axes: Any, rows: Sequence[Row], metric: str) -> None:
    lookaheads = sorted({row.point.max_future_frames for row in rows})
    for place, lookahead in enumerate(lookaheads):
        colour = _COLOURS[lookahead % len(_COLOURS)]  # of L, so that pictures can be compared
        mine = [row for row in rows if row.point.max_future_frames == lookahead]
        curve = sorted(
            (row for row in mine if _drawable(row, metric)),
            key=lambda row: row.point.segment_ms or 0,
        )
        x = [getattr(row.scores, metric) for row in curve]
        y = [row.scores.BLEU for row in curve]
        # A percentile interval can leave out the score itself; no error bar is negative.
        below = [max(0.0, row.scores.BLEU - row.BLEU_lo) for row in curve]
        above = [max(0.0, row.BLEU_hi - row.scores.BLEU) for row in curve]
        if curve:
            axes.errorbar(
                *(x, y),
                yerr=(below, above),
                color=colour,
                marker=_MARKERS[lookahead % len(_MARKERS)],
                markersize=6,
                linewidth=1.6,
                elinewidth=0.9,
                capsize=3,
                label=f"L = {lookahead} (encoder: {curve[0].point.algorithmic_latency_ms} ms)",
            )
        for row, left, up in zip(curve, x, y, strict=True):
            # Curves of one model lie close together: labels of the first below it, of others above.
            axes.annotate(
                f"{row.point.segment_ms} ms",
                (left, up),
                textcoords="offset points",
                xytext=(7, -13) if place == 0 else (-7, 7),
                horizontalalignment="left" if place == 0 else "right",
                fontsize=8,
                color=colour,
            )
        for row in mine:
            if row.point.segment_ms is None:
                axes.axhline(
                    row.scores.BLEU,
                    color=colour,
                    linestyle=(0, (5, 3)) if place == 0 else (0, (2, 2)),
                    linewidth=1.1,
                    label=f"L = {lookahead} offline",
                )


def _drawable(row: Row, metric: str) -> bool:
    return row.point.segment_ms is not None and not math.isnan(getattr(row.scores, metric))


def _save(figure: Figure, path: Path) -> None:
    temporary = path.with_name(f"{path.stem}.tmp{path.suffix}")  # the suffix says the format
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(temporary, dpi=150, metadata=metadata)
    temporary.replace(path)
