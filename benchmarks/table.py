"""Figures as a Markdown table, the ratio first."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures import Figure

HEADER = (
    "| ratio | against | figure | value | target | meets | note |\n|---:|---|---|---:|---|---|---|"
)


def markdown(figures: Sequence[Figure]) -> str:
    """The table."""
    return "\n".join([HEADER, *map(row, figures)])


def row(figure: Figure) -> str:
    """The row of a figure; the reason replaces the value if it was not measured."""
    target = "" if figure.target is None else str(figure.target)
    if figure.value is None:
        meets = "not measured" if target else ""
        return f"| | | {_cell(figure.name)} | {_cell(figure.note)} | {target} | {meets} | |"
    ratio = "" if figure.ratio is None else f"**{number(figure.ratio)}**"
    against = figure.against
    if figure.floor is not None:
        against += f": {number(figure.floor)} {figure.unit}".rstrip()
    value = f"{number(figure.value)} {figure.unit}".rstrip()
    if figure.low is not None and figure.high is not None:
        value += f" [{number(figure.low)} to {number(figure.high)}]"
    meets = {None: "", True: "yes", False: "**no**"}[figure.meets]
    cells = (ratio, against, figure.name, value, target, meets, figure.note)
    return f"| {' | '.join(map(_cell, cells))} |"


def number(value: float) -> str:
    """A number with three significant digits, or all of a whole number."""
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
