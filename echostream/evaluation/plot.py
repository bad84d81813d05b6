"""The figure of a sweep: BLEU against AL and LAAL, one line per look-ahead and decoding method.

The colour stands for the look-ahead L, the style of line and marker for the decoding method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from echostream.evaluation.point import Point
from echostream.evaluation.report import Row
from echostream.extras import extra
from echostream.files import replacing

with extra("eval", "the picture of a curve"):
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Okabe and Ito's colours, distinct with any colour vision; the markers differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_GREY = "#555555"
# The line of each method, and the fill of its markers.
_LINES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_FILLS = ("full", "none", "left", "top")
_OFFLINE_LINES = ((0, (5, 3)), (0, (1, 2)), (0, (2, 2)), (0, (5, 2, 1, 2)))
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "echostream",  # the same rows give the same file
}


def draw(rows: Sequence[Row], title: str, paths: Sequence[Path]) -> None:
    """Draws the rows of one `stride_n` and saves the figure to each of `paths` (.png, .svg)."""
    with matplotlib.rc_context(_STYLE):
        figure = make_figure(rows, title)
        for path in paths:
            _save(figure, path)


def make_figure(rows: Sequence[Row], title: str) -> Figure:
    """The figure of the rows of one `stride_n`.

    An offline row is a dashed horizontal line: a point at its latency would compress the others.
    """
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
    if high - low < 1:  # small differences of BLEU must look small
        panels[0].set_ylim((low + high - 1) / 2, (low + high + 1) / 2)
    panels[0].set_ylabel("BLEU (error bars: 95 % bootstrap interval)")
    keys = _keys(rows)
    columns = len(keys) if len(keys) <= 4 else (len(keys) + 1) // 2
    figure.legend(
        handles=keys,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        handlelength=3,  # two dashes
    )
    return figure


def _panel(axes: Any, rows: Sequence[Row], metric: str) -> None:
    lookaheads, methods = _lookaheads(rows), _methods(rows)
    for lookahead in lookaheads:
        for method in methods:
            mine = [
                row
                for row in rows
                if (row.point.max_future_frames, row.point.method) == (lookahead, method)
            ]
            curve = sorted(
                (row for row in mine if _drawable(row, metric)),
                key=lambda row: row.point.segment_ms or 0,
            )
            if curve:
                _curve(axes, curve, metric, methods.index(method), crowded=len(methods) > 1)
                _name_points(axes, curve, metric, rows)
            for row in mine:
                if row.point.segment_ms is None:
                    axes.axhline(row.scores.BLEU, **_offline_style(row, rows))


def _curve(axes: Any, curve: Sequence[Row], metric: str, method_index: int, crowded: bool) -> None:
    """One line with its markers and error bars; the bars are pale if there are several methods."""
    # A percentile interval can leave out the score itself; no error bar is negative.
    below = [max(0.0, row.scores.BLEU - row.BLEU_lo) for row in curve]
    above = [max(0.0, row.BLEU_hi - row.scores.BLEU) for row in curve]
    _, caps, bars = axes.errorbar(
        [getattr(row.scores, metric) for row in curve],
        [row.scores.BLEU for row in curve],
        yerr=(below, above),
        elinewidth=0.9,
        capsize=3,
        **_curve_style(curve[0].point.max_future_frames, method_index),
    )
    for piece in (*caps, *bars):
        piece.set_alpha(0.35 if crowded else 1.0)


def _name_points(axes: Any, curve: Sequence[Row], metric: str, rows: Sequence[Row]) -> None:
    """The segment size at each point of a curve, on the side away from other curves."""
    lookahead = curve[0].point.max_future_frames
    first = lookahead == _lookaheads(rows)[0]
    if len(_methods(rows)) == 1:
        below, right, unit = first, first, " ms"
    else:  # the curves of two look-aheads lie close to each other: names on their outer sides
        below, right, unit = _is_lowest(curve, rows), not first, ""
    for row in curve:
        axes.annotate(
            f"{row.point.segment_ms}{unit}",
            (getattr(row.scores, metric), row.scores.BLEU),
            textcoords="offset points",
            xytext=(7 if right else -7, -13 if below else 7),
            horizontalalignment="left" if right else "right",
            fontsize=8,
            color=_COLOURS[lookahead % len(_COLOURS)],
            # Over lines and bars; with an outline the text of an SVG would become paths.
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6},
            zorder=5,
        )


def _curve_style(lookahead: int, method_index: int) -> dict[str, Any]:
    colour = _COLOURS[lookahead % len(_COLOURS)]  # by L, so that figures can be compared
    return {
        "color": colour,
        "marker": _MARKERS[lookahead % len(_MARKERS)],
        "markersize": 6,
        "markerfacecoloralt": "white",
        "fillstyle": _FILLS[method_index % len(_FILLS)],
        "linewidth": 1.6,
        "linestyle": _LINES[method_index % len(_LINES)],
    }


def _offline_style(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    lookahead, methods = row.point.max_future_frames, _methods(rows)
    # With one method, two look-aheads with the same BLEU must both be visible.
    index = methods.index(row.point.method) if len(methods) > 1 else lookahead > 0
    return {
        "color": _COLOURS[lookahead % len(_COLOURS)],
        "linestyle": _OFFLINE_LINES[index % len(_OFFLINE_LINES)],
        "linewidth": 1.1,
    }


def _keys(rows: Sequence[Row]) -> list[Line2D]:
    """The legend: look-aheads and, with two methods, methods; with one, each L and its offline."""
    keys = []
    methods = _methods(rows)
    offline = [row for row in rows if row.point.segment_ms is None]
    for lookahead in _lookaheads(rows):
        latency = Point(lookahead, None, 1).algorithmic_latency_ms
        words = f"L = {lookahead} (encoder: {latency} ms)"
        keys.append(Line2D([], [], label=words, **_curve_style(lookahead, 0)))
        for row in offline:
            if len(methods) == 1 and row.point.max_future_frames == lookahead:
                style = _offline_style(row, rows)
                keys.append(Line2D([], [], label=f"L = {lookahead} offline", **style))
    if len(methods) > 1:
        for index, method in enumerate(methods):
            style = {**_curve_style(0, index), "color": _GREY}
            keys.append(Line2D([], [], label=method, **style))
            for row in [row for row in offline if row.point.method == method][:1]:
                style = {**_offline_style(row, rows), "color": _GREY}
                keys.append(Line2D([], [], label=f"{method} offline", **style))
    return keys


def _is_lowest(curve: Sequence[Row], rows: Sequence[Row]) -> bool:
    """Whether no look-ahead of the same decoding method has a lower BLEU."""

    def mean_bleu(lookahead: int) -> float:
        points = [row for row in rows if row.point.method == curve[0].point.method]
        of = [row.scores.BLEU for row in points if row.point.max_future_frames == lookahead]
        return mean(of) if of else math.inf

    return curve[0].point.max_future_frames == min(_lookaheads(rows), key=mean_bleu)


def _lookaheads(rows: Sequence[Row]) -> list[int]:
    return sorted({row.point.max_future_frames for row in rows})


def _methods(rows: Sequence[Row]) -> list[str]:
    return sorted({row.point.method for row in rows})  # ctc comes first


def _drawable(row: Row, metric: str) -> bool:
    return row.point.segment_ms is not None and not math.isnan(getattr(row.scores, metric))


def _save(figure: Figure, path: Path) -> None:
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata=metadata)
