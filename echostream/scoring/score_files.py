"""The scores of runs as files: JSON with everything, and a table that a spreadsheet reads."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from echostream.files import write_whole
from echostream.scoring.findings import findings
from echostream.scoring.metrics.table import AWARE, NAMES
from echostream.scoring.report import ERROR_RATES, countings, error_rate
from echostream.scoring.score import Counted, RunScores

STEM = "echostream_scores"
COLUMNS = (
    *("run", "counted_in", "num_utterances", "num_empty", "BLEU", "chrF", *ERROR_RATES),
    *NAMES,
    *(name + AWARE for name in NAMES),
    "compute_rtf",
)


def write_scores(run: RunScores) -> None:
    """Writes `echostream_scores.json` and `.tsv` beside the log of a run, each whole or not.

    Raises OSError when the folder cannot be written.
    """
    folder = run.path.resolve().parent
    write_whole(folder / f"{STEM}.json", to_json(run))
    write_whole(folder / f"{STEM}.tsv", to_tsv({printable(folder.name): run}))


def printable(name: str) -> str:
    """The name of a file as text: what is not UTF-8 is replaced, and it stays in one cell."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(" " if character in "\t\r\n" else character for character in text)


def to_json(run: RunScores) -> str:
    """Everything about a run; what is not known is null."""
    content: dict[str, Any] = {
        "unit": run.unit,
        "num_utterances": len(run.log.entries),
        "num_empty": run.num_empty,
        "quality": _quality(run),
        "words": _counted(run.words),
        "characters": _counted(run.characters),
        "as_the_build_counts": _counted(run.as_built),
        "compute_rtf": run.compute_rtf,
        "policy": None
        if run.degeneracy is None
        else {
            "simultaneous_percent": run.degeneracy.simultaneous,
            "expected_percent": run.degeneracy.expected,
            "degenerate": run.degeneracy.is_degenerate,
            "offline": run.degeneracy.is_offline,
        },
        "left_out": list(run.log.left_out),
        "findings": findings(run),
    }
    return json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n"


def to_tsv(runs: Mapping[str, RunScores]) -> str:
    """A row for each run and way of counting; an unknown value is an empty cell."""
    lines = ["\t".join(COLUMNS)]
    for name, run in runs.items():
        for label, counted in countings(run):
            values: dict[str, Any] = {
                "run": name,
                "counted_in": label,
                "num_utterances": counted.num_utterances,
                "num_empty": run.num_empty,
                **{rate: error_rate(run, rate) for rate in ERROR_RATES},
                "compute_rtf": run.compute_rtf,
                **counted.values,
            }
            if run.quality is not None:
                values |= {"BLEU": run.quality.BLEU, "chrF": run.quality.chrF}
            lines.append("\t".join(_cell(values.get(column)) for column in COLUMNS))
    return "\n".join(lines) + "\n"


def _quality(run: RunScores) -> dict[str, Any] | None:
    if run.quality is None:
        return None
    return {
        "BLEU": run.quality.BLEU,
        "chrF": run.quality.chrF,
        **{name: error_rate(run, name) for name in ERROR_RATES},
        "tokenizer": run.tokenizer,
        "signatures": run.quality.signatures,
    }


def _counted(counted: Counted | None) -> dict[str, Any] | None:
    if counted is None:
        return None
    return {"num_utterances": counted.num_utterances, **counted.values}


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _without_nan(value: Any) -> Any:
    """The same JSON value with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
