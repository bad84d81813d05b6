"""The scores of runs as files: JSON with everything, and a table that a spreadsheet reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from echostream.config import to_dict
from echostream.files import write_whole
from echostream.scoring.judge.report import SPEECH_COLUMNS, speech_cells, speech_json
from echostream.scoring.metrics.table import COMPUTATION_AWARE, NAMES
from echostream.scoring.report import ERROR_RATES, error_rate, rows_of
from echostream.scoring.score import MetricTable, RunScores
from echostream.scoring.tables import json_text, tsv_text
from echostream.scoring.warnings import warnings_of

STEM = "echostream_scores"
COLUMNS = (
    *("run", "counted_in", "num_utterances", "num_empty", "BLEU", "chrF", *ERROR_RATES),
    *NAMES,
    *(name + COMPUTATION_AWARE for name in NAMES),
    "compute_rtf",
    *SPEECH_COLUMNS,
)


def write_scores(run: RunScores) -> None:
    """Writes `echostream_scores.json` and `.tsv` beside the log of a run, each whole or not.

    Raises OSError when the folder cannot be written.
    """
    folder = run.path.resolve().parent
    write_whole(folder / f"{STEM}.json", to_json(run))
    write_whole(folder / f"{STEM}.tsv", to_tsv({printable(folder.name): run}))


def printable(name: str) -> str:
    """The name of a file as the text of one cell; bytes that are not UTF-8 are replaced."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(" " if character in "\t\r\n" else character for character in text)


def to_json(run: RunScores) -> str:
    """Everything about a run; unknown values are null."""
    content: dict[str, Any] = {
        "unit": run.unit,
        "num_utterances": len(run.log.utterances),
        "num_empty": run.num_empty,
        "quality": _quality(run),
        "words": _metrics(run.words),
        "characters": _metrics(run.characters),
        "as_the_build_counts": _metrics(run.simuleval_units),
        "compute_rtf": run.compute_rtf,
        "policy": None
        if run.degeneracy is None
        else {
            "simultaneous_percent": run.degeneracy.simultaneous,
            "expected_percent": run.degeneracy.expected,
            "degenerate": run.degeneracy.is_degenerate,
            "offline": run.degeneracy.is_offline,
        },
        "discontinuity": None if run.discontinuity is None else run.discontinuity._asdict(),
        "backlog": None if run.backlog is None else run.backlog._asdict(),
        "speech": speech_json(run.speech),
        "left_out": list(run.log.skipped),
        "findings": warnings_of(run),
    }
    return json_text(content)


def to_tsv(runs: Mapping[str, RunScores]) -> str:
    """One line per run and unit of counting; unknown values are empty cells."""
    rows = []
    for name, run in runs.items():
        for label, metrics in rows_of(run):
            values: dict[str, Any] = {
                "run": name,
                "counted_in": label,
                "num_utterances": metrics.num_utterances,
                "num_empty": run.num_empty,
                **{rate: error_rate(run, rate) for rate in ERROR_RATES},
                "compute_rtf": run.compute_rtf,
                **metrics.values,
            }
            values |= speech_cells(run.discontinuity, run.backlog, run.speech)
            if run.quality is not None:
                values |= {"BLEU": run.quality.BLEU, "chrF": run.quality.chrF}
            rows.append(values)
    return tsv_text(COLUMNS, rows, decimals=6)


def _quality(run: RunScores) -> dict[str, Any] | None:
    if run.quality is None:
        return None
    return {
        "BLEU": run.quality.BLEU,
        "chrF": run.quality.chrF,
        **{name: error_rate(run, name) for name in ERROR_RATES},
        "tokenizer": run.tokenizer,
        "text": None if run.text is None else to_dict(run.text),
        "signatures": run.quality.signatures,
    }


def _metrics(metrics: MetricTable | None) -> dict[str, Any] | None:
    if metrics is None:
        return None
    return {"num_utterances": metrics.num_utterances, **metrics.values}
