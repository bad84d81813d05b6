"""The pictures of a sweep: quality against two latencies and, of speech, how it is played.

The colour of a line stands for its look-ahead L, the style of line and marker for its decoding
method (and the rounds of the refiner).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from echostream.evaluation.point import CTC, Point
from echostream.evaluation.published import Published
from echostream.evaluation.report import Row
from echostream.extras import extra
from echostream.files import replacing
from echostream.scoring.simuleval_speech import ScoresOfSpeech

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
_NEAR = 0.04  # of the range of a panel: points so near have one name
# How speech is played: a latency, and its name in words.
_PLAYING = (
    ("StartOffset", "first sound, after the source began"),
    ("EndOffset", "last sound, after the source ended"),
    ("BacklogLongest", "longest backlog"),
)
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "echostream",  # the same rows give the same file
}


def draw(
    rows: Sequence[Row],
    title: str,
    folder: Path,
    suffix: str = "",
    published: Sequence[Published] = (),
) -> list[Path]:
    """Draws the rows of one `stride_n` as PNG and SVG; returns the paths of the PNGs.

    `curve` is quality against latency, if the quality is known; speech also has `playing`. `suffix`
    follows each name. `published` scores are lines in `curve`.
    """
    with matplotlib.rc_context(STYLE):
        figures = {}
        if not all(math.isnan(row.quality) for row in rows):
            figures["curve"] = make_figure(rows, title, published)
        streamed = [row for row in rows if row.point.segment_ms is not None]
        if streamed and isinstance(rows[0].scores, ScoresOfSpeech):
            figures["playing"] = make_playing_figure(streamed, title)
        paths = {folder / f"{name}{suffix}.png": figure for name, figure in figures.items()}
        for path, figure in paths.items():
            save_figure(figure, path)
            save_figure(figure, path.with_suffix(".svg"))
    return list(paths)


def make_figure(rows: Sequence[Row], title: str, published: Sequence[Published] = ()) -> Figure:
    """Quality against latency, from the rows of one `stride_n`.

    A line is a method at several segment sizes or, where all rows have one segment size and a
    method has several numbers (wait-k:3, wait-k:5), at these numbers. An offline row is a dashed
    horizontal line: a point at its latency would compress the others.
    """
    columns, name, unit = rows[0].columns, "segment size in ms", " ms"
    if (numbered := _by_number(rows)) is not None:
        segment = rows[0].point.segment_ms
        rows, name, unit = numbered, f"the number of the method; segments of {segment} ms", ""
    figure, panels = _figure(f"{title}; at each point: {name}", len(columns.panels), sharey=True)
    for axes, (metric, words) in zip(panels, columns.panels, strict=True):
        _panel(axes, rows, metric, unit)
        for line in published:
            _published_line(axes, line)
        axes.set_xlabel(words)
        add_grid(axes)
    low, high = panels[0].get_ylim()
    if high - low < 1:  # small differences of BLEU must look small
        panels[0].set_ylim((low + high - 1) / 2, (low + high + 1) / 2)
    panels[0].set_ylabel(f"{columns.title} (error bars: 95 % bootstrap interval)")
    _legend(figure, _keys(rows))
    return figure


def make_playing_figure(rows: Sequence[Row], title: str) -> Figure:
    """StartOffset, EndOffset and the longest backlog by segment size; no row is offline."""
    figure, panels = _figure(title, len(_PLAYING), sharey=False)
    for axes, (metric, words) in zip(panels, _PLAYING, strict=True):
        for lookahead, (index, line) in product(_lookaheads(rows), enumerate(_lines(rows))):
            mine = sorted(_of_line(rows, lookahead, line), key=_segment)
            values = [getattr(row.scores, metric) for row in mine]
            axes.plot([_segment(row) for row in mine], values, **curve_style(lookahead, index))
        axes.set_title(words, fontsize=10)
        axes.set_xticks(sorted(set(map(_segment, rows))))
        axes.set_xlabel("segment (ms)")
        add_grid(axes)
    panels[0].set_ylabel("ms, mean over utterances")
    _legend(figure, _keys(rows))
    return figure


def _figure(title: str, num_panels: int, sharey: bool) -> tuple[Figure, Any]:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    return figure, figure.subplots(1, num_panels, sharey=sharey)


def add_grid(axes: Any) -> None:
    """Grid and margins of a panel."""
    axes.grid(True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.15, y=0.12)


def _legend(figure: Figure, keys: Sequence[Line2D]) -> None:
    columns = len(keys) if len(keys) <= 4 else (len(keys) + 1) // 2
    figure.legend(
        handles=keys,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        handlelength=3,  # two dashes
    )


def _by_number(rows: Sequence[Row]) -> list[Row] | None:
    """The rows with the number of each method in the place of the segment size.

    None if there are several segment sizes, or a whole recording, or no method has two numbers.
    """
    points = [row.point for row in rows]
    names = {point.method: point.method.partition(":")[0] for point in points}
    if len({point.segment_ms for point in points}) > 1 or None in {p.segment_ms for p in points}:
        return None
    if len(names) == len(set(names.values())):
        return None
    moved = [replace(p, segment_ms=p.number, method=names[p.method]) for p in points]
    return [replace(row, point=point) for row, point in zip(rows, moved, strict=True)]


def _panel(axes: Any, rows: Sequence[Row], metric: str, unit: str) -> None:
    lines = _lines(rows)
    for lookahead in _lookaheads(rows):
        for line in lines:
            mine = _of_line(rows, lookahead, line)
            curve = sorted(
                (row for row in mine if _drawable(row, metric)),
                key=_segment,
            )
            if curve:
                _curve(axes, curve, metric, lines.index(line), crowded=len(lines) > 1)
                _name_points(axes, curve, metric, rows, unit)
            for row in mine:
                if row.point.segment_ms is None:
                    axes.axhline(row.quality, **_offline_style(row, rows))


def _published_line(axes: Any, line: Published) -> None:
    axes.axhline(line.score, color=_GREY, linestyle=(0, (1, 3)), linewidth=1.1, zorder=1)
    axes.annotate(
        f"{line.name}: {line.score:g}".replace("$", r"\$"),
        (0.01, line.score),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        xytext=(0, 3),
        fontsize=8,
        color=_GREY,
    )


def _curve(axes: Any, curve: Sequence[Row], metric: str, line_index: int, crowded: bool) -> None:
    """One line with its markers and error bars; the bars are pale if there are several styles."""
    # A percentile interval can leave out the score itself; no error bar is negative.
    below = [max(0.0, row.quality - row.low) for row in curve]
    above = [max(0.0, row.high - row.quality) for row in curve]
    _, caps, bars = axes.errorbar(
        [getattr(row.scores, metric) for row in curve],
        [row.quality for row in curve],
        yerr=(below, above),
        elinewidth=0.9,
        capsize=3,
        **curve_style(curve[0].point.max_future_frames, line_index),
    )
    for piece in (*caps, *bars):
        piece.set_alpha(0.35 if crowded else 1.0)


def _name_points(
    axes: Any, curve: Sequence[Row], metric: str, rows: Sequence[Row], unit: str
) -> None:
    """The segment size or number at each point of a curve, on the side away from other curves.

    Points that lie almost on each other have one name together.
    """
    lookahead = curve[0].point.max_future_frames
    first = lookahead == _lookaheads(rows)[0]
    if len(_lines(rows)) == 1:
        below, right = first, first
    else:  # the curves of two look-aheads lie close to each other: names on their outer sides
        below, right, unit = _is_lowest(curve, rows), not first, ""
    for group in _nearby(curve, metric, rows):
        sizes = " / ".join(str(_segment(row)) for row in sorted(group, key=_segment))
        axes.annotate(
            f"{sizes}{unit}",
            (getattr(group[-1 if right else 0].scores, metric), group[0].quality),
            textcoords="offset points",
            xytext=(7 if right else -7, -13 if below else 7),
            horizontalalignment="left" if right else "right",
            fontsize=8,
            color=_COLOURS[lookahead % len(_COLOURS)],
            # Over lines and bars; with an outline the text of an SVG would become paths.
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6},
            zorder=5,
        )


def _nearby(curve: Sequence[Row], metric: str, rows: Sequence[Row]) -> list[list[Row]]:
    """The points of a curve by latency, those together whose names would cover each other."""
    drawn = [row for row in rows if _drawable(row, metric)]
    places = np.array([(getattr(row.scores, metric), row.quality) for row in drawn])
    near = _NEAR * np.ptp(places, axis=0)
    groups: list[list[Row]] = []
    for row in sorted(curve, key=lambda row: float(getattr(row.scores, metric))):
        if groups:
            before = groups[-1][-1]
            lag = getattr(row.scores, metric) - getattr(before.scores, metric)
            if lag < near[0] and abs(row.quality - before.quality) <= near[1]:
                groups[-1].append(row)
                continue
        groups.append([row])
    return groups


def curve_style(lookahead: int, line_index: int) -> dict[str, Any]:
    """The style of a line: the colour is L, the line and the fill of markers the method."""
    colour = _COLOURS[lookahead % len(_COLOURS)]  # by L, so that figures can be compared
    return {
        "color": colour,
        "marker": _MARKERS[lookahead % len(_MARKERS)],
        "markersize": 6,
        "markerfacecoloralt": "white",
        "fillstyle": _FILLS[line_index % len(_FILLS)],
        "linewidth": 1.6,
        "linestyle": _LINES[line_index % len(_LINES)],
    }


def _offline_style(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    lookahead, lines = row.point.max_future_frames, _lines(rows)
    # With one style, two look-aheads with the same quality must both be visible.
    index = lines.index(row.point.line) if len(lines) > 1 else lookahead > 0
    return {
        "color": _COLOURS[lookahead % len(_COLOURS)],
        "linestyle": _OFFLINE_LINES[index % len(_OFFLINE_LINES)],
        "linewidth": 1.1,
    }


def _keys(rows: Sequence[Row]) -> list[Line2D]:
    """The legend: look-aheads and, if there are several, styles; with one, each L's offline."""
    keys = []
    lines = _lines(rows)
    offline = [row for row in rows if row.point.segment_ms is None]
    for lookahead in _lookaheads(rows):
        latency = Point(lookahead, None, 1).algorithmic_latency_ms
        words = f"L = {lookahead} (encoder: {latency} ms)"
        keys.append(Line2D([], [], label=words, **curve_style(lookahead, 0)))
        for row in offline:
            if len(lines) == 1 and row.point.max_future_frames == lookahead:
                style = _offline_style(row, rows)
                keys.append(Line2D([], [], label=f"L = {lookahead} offline", **style))
    if len(lines) > 1:
        for index, line in enumerate(lines):
            style = {**curve_style(0, index), "color": _GREY}
            keys.append(Line2D([], [], label=line, **style))
            for row in [row for row in offline if row.point.line == line][:1]:
                style = {**_offline_style(row, rows), "color": _GREY}
                keys.append(Line2D([], [], label=f"{line} offline", **style))
    return keys


def _is_lowest(curve: Sequence[Row], rows: Sequence[Row]) -> bool:
    """Whether no look-ahead with the same style has a lower quality."""

    def mean_quality(lookahead: int) -> float:
        of = [row.quality for row in _of_line(rows, lookahead, curve[0].point.line)]
        known = [quality for quality in of if not math.isnan(quality)]
        return mean(known) if known else math.inf

    return curve[0].point.max_future_frames == min(_lookaheads(rows), key=mean_quality)


def _lookaheads(rows: Sequence[Row]) -> list[int]:
    return sorted({row.point.max_future_frames for row in rows})


def _lines(rows: Sequence[Row]) -> list[str]:
    return sorted({row.point.line for row in rows}, key=lambda line: (line[:3] != CTC, line))


def _of_line(rows: Sequence[Row], lookahead: int, line: str) -> list[Row]:
    wanted = lookahead, line
    return [row for row in rows if (row.point.max_future_frames, row.point.line) == wanted]


def _segment(row: Row) -> int:
    return row.point.segment_ms or 0  # 0: a whole recording, or the number of a method


def _drawable(row: Row, metric: str) -> bool:
    known = not math.isnan(getattr(row.scores, metric)) and not math.isnan(row.quality)
    return row.point.segment_ms is not None and known


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure in the format of the suffix, always with the same bytes."""
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata=metadata)
