"""The curve of unsegmented recordings: BLEU against LongYAAL, by OmniSTEval's resegmentation."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echostream.evaluation.arguments import PAUSE_MS, SPEECH
from echostream.evaluation.joined import (
    AUDIO_YAML,
    REFERENCE,
    SOURCE,
    TARGET,
    join,
    load,
    write_streams,
)
from echostream.evaluation.point import Point, Setup
from echostream.evaluation.test_set import InputError, check_single_references, read_test_set
from echostream.files import write_whole
from echostream.scoring.log import INSTANCES_LOG
from echostream.scoring.long_form import COLUMNS, LongFormScores, Segments, score_long_form
from echostream.scoring.tables import json_text, markdown_table, tsv_text

STEM = "longform"


@dataclass(frozen=True)
class Row:
    """A point for one number of recordings in a stream."""

    joined: int
    point: Point
    scores: LongFormScores


def check(args: argparse.Namespace) -> None:
    """Raises InputError for arguments that do not go with `--longform`."""
    if args.task == SPEECH:
        raise InputError("`--longform` goes with text only, not with `--task s2st`.")
    for name in ("only_task", "merge_only", "slurm_script"):
        value = getattr(args, name)
        if value is not None and value is not False:  # the first task is 0
            raise InputError(f"`--{name.replace('_', '-')}` does not go with `--longform`.")


def with_streams(args: argparse.Namespace, joined: int) -> argparse.Namespace:
    """The arguments of the sweep over streams of `joined` recordings, whose files are written.

    Raises InputError or OSError.
    """
    test_set = read_test_set(args.source, args.target)
    check_single_references(test_set)
    folder = args.output / f"joined-{joined}"
    recordings = [load(path) for path in test_set.recordings]
    pause_ms = PAUSE_MS if args.pause_ms is None else args.pause_ms
    write_streams(join(recordings, test_set.references, joined, pause_ms), folder)
    new = argparse.Namespace(**vars(args))
    new.source, new.target, new.output = folder / SOURCE, folder / TARGET, folder
    return new


def score_points(setup: Setup, points: Sequence[Point], joined: int) -> list[Row]:
    """The rows of finished points. Raises ScoringError."""
    counting = setup.counting
    segments = Segments(
        setup.output / AUDIO_YAML,
        setup.output / REFERENCE,
        "word" if counting.latency_unit == "word" else "char",
        counting.tokenizer,
    )
    rows = []
    for point in points:
        scores, content = score_long_form(setup.folder(point) / INSTANCES_LOG, segments)
        lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in content)
        write_whole(setup.folder(point) / f"{STEM}.segments.jsonl", "".join(lines))
        rows.append(Row(joined, point, scores))
    return rows


def write_rows(
    rows: Sequence[Row], folder: Path, title: str, draw: Callable[..., list[Path]] | None
) -> None:
    """Prints the table, writes it as TSV and JSON, and draws the picture."""
    cells = [_named(row) for row in rows]
    names = ["recordings in a stream", "point", *COLUMNS.values()]
    shown = ["BLEU", "chrF", "LongYAAL", "LongYAAL_CA", "LongLAAL", "compute_rtf", "empty"]
    table = [["joined", "point", *shown]]
    for one in cells:
        table.append([str(one[names[0]]), one["point"], *(_short(one[name]) for name in shown)])
    print(f"\n{title} (latencies in ms)\n{markdown_table(table)}\n", flush=True)
    write_whole(folder / f"{STEM}.tsv", tsv_text(names, cells, decimals=4))
    content = [
        {"joined": row.joined, "point": row.point.name, **dataclasses.asdict(row.scores)}
        for row in rows
    ]
    write_whole(folder / f"{STEM}.json", json_text(content))
    print(f"scores: {folder / f'{STEM}.tsv'}, {folder / f'{STEM}.json'}")
    for picture in [] if draw is None else draw(rows, title, folder / f"{STEM}.png"):
        print(f"picture: {picture}")


def _named(row: Row) -> dict[str, Any]:
    scores = {title: getattr(row.scores, column) for column, title in COLUMNS.items()}
    return {"recordings in a stream": row.joined, "point": row.point.name, **scores}


def _short(value: float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if value < 1 else f"{value:.1f}"
