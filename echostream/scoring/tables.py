"""Values as JSON, tab-separated cells and Markdown: NaN and None are null, or an empty cell."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def json_text(content: Any) -> str:
    """Indented JSON with null for NaN, which JSON does not have."""
    return json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n"


def tsv_text(
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    decimals: int,
    decimals_of: Mapping[str, int] | None = None,
) -> str:
    """A header and a line per row; a key that is missing is an empty cell.

    `decimals` of floats; `decimals_of` has those of single columns.
    """
    special = decimals_of or {}
    lines = [list(columns)]
    lines += [
        [_cell(row.get(name), special.get(name, decimals)) for name in columns] for row in rows
    ]
    return "".join("\t".join(cells) + "\n" for cells in lines)


def markdown_table(rows: Sequence[Sequence[str]], num_names: int = 2) -> str:
    """A table whose first row is its header; all but the first `num_names` columns are numbers."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    dashes = ["-" * width for width in widths]
    rule = [*dashes[:num_names], *(dash[:-1] + ":" for dash in dashes[num_names:])]
    lines = []
    for cells in (rows[0], rule, *rows[1:]):
        pairs = list(zip(cells, widths, strict=True))
        left = [cell.ljust(width) for cell, width in pairs[:num_names]]
        right = [cell.rjust(width) for cell, width in pairs[num_names:]]
        lines.append("| " + " | ".join(left + right) + " |")
    return "\n".join(lines)


def _cell(value: Any, decimals: int) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
