"""The picture of unsegmented recordings: a panel for each number of recordings in a stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from echostream.evaluation.long_form_curve import Row
from echostream.evaluation.plot import STYLE, add_grid, curve_style, save_figure
from echostream.extras import extra

with extra("eval", "the picture of a curve"):
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure


def draw_long_form(rows: Sequence[Row], title: str, path: Path) -> list[Path]:
    """Draws BLEU against LongYAAL, as PNG and SVG; returns the path of the PNG.

    Colours are look-aheads L, lines and markers are methods, as in the curve of recordings that are
    segmented. All panels have the same axes.
    """
    with matplotlib.rc_context(STYLE):
        figure = make_long_form_figure(rows, title)
        for file in (path, path.with_suffix(".svg")):
            save_figure(figure, file)
    return [path]


def make_long_form_figure(rows: Sequence[Row], title: str) -> Figure:
    """The figure of `draw_long_form`."""
    counts = sorted({row.joined for row in rows})
    figure = Figure(figsize=(max(5.0, 3.2 * len(counts)), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title.replace("$", r"\$"), fontsize=11)
    panels = figure.subplots(1, len(counts), sharex=True, sharey=True, squeeze=False)[0]
    lines = list(dict.fromkeys(_line(row) for row in rows))
    lookaheads = sorted({row.point.max_future_frames for row in rows})
    for axes, joined in zip(panels, counts, strict=True):
        mine = [row for row in rows if row.joined == joined and row.scores.long_yaal is not None]
        for lookahead in lookaheads:
            for index, line in enumerate(lines):
                curve = sorted(
                    (
                        row
                        for row in mine
                        if row.point.max_future_frames == lookahead and _line(row) == line
                    ),
                    key=lambda row: (row.point.number, row.point.segment_ms or 0),
                )
                if not curve:
                    continue
                axes.plot(
                    [row.scores.long_yaal for row in curve],
                    [row.scores.bleu for row in curve],
                    label=f"L = {lookahead}, {line}",
                    **curve_style(lookahead, index),
                )
        plural = "recording" if joined == 1 else "recordings"
        axes.set_title(f"{joined} {plural} in a stream", fontsize=10)
        axes.set_xlabel("LongYAAL (ms)")
        add_grid(axes)
    panels[0].set_ylabel("BLEU of resegmented text")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _line(row: Row) -> str:
    """The method without its number, which moves along a line."""
    return row.point.method.partition(":")[0]
