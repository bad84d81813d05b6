"""From the logs of all shards of a point to the log and the scores of the point.

Afterwards the folder of the point has the files of a single process: instances.log with the indices
of the whole test set, and scores.tsv as SimulEval itself scores that log.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from echostream.evaluation.point import (
    MARKER,
    RUN_LOG,
    SIMULEVAL_SCORES,
    Point,
    Setup,
    find_simuleval,
    write_marker,
)
from echostream.evaluation.runner import ENVIRONMENT, Failure
from echostream.evaluation.shards import Progress, Shard, cut_shards, read_progress
from echostream.evaluation.tasks import SILENT, Ended, Sweep, describe_end, now, remove_folder
from echostream.files import locked, write_whole
from echostream.scoring.judge.recordings import WAVS
from echostream.scoring.log import INSTANCES_LOG, ScoringError
from echostream.scoring.log_line import parse_line
from echostream.scoring.simuleval_scores import compare_with_simuleval

CONFIG = "config.yaml"  # written by SimulEval for --score-only


def finish_points(
    sweep: Sweep, points: Sequence[Point], num_shards: int, report: Callable[[str], None]
) -> tuple[dict[Point, dict[str, Any]], list[Failure]]:
    """Merges the shards of points; returns the records of finished points and the failures.

    report: called with one line about each point that was merged or could not be.
    """
    records: dict[Point, dict[str, Any]] = {}
    failures: list[Failure] = []
    shards = cut_shards(len(sweep.setup.test_set), num_shards)
    for point in points:
        try:
            if num_shards > 1 and sweep.record(point) is None:
                merge_point(sweep, point, shards)
                report(f"{point.name}: merged from {num_shards} shards")
            record = sweep.record(point)
            if record is None:
                raise ScoringError("it is not finished.")
            records[point] = record
        except (ScoringError, OSError) as error:
            failures.append(Failure(point.name, str(error), sweep.setup.folder(point)))
            report(f"{point.name}: FAILED: {error}")
    return records, failures


def merge_point(sweep: Sweep, point: Point, shards: Sequence[Shard]) -> None:
    """Joins the logs of all shards, scores the union with SimulEval, marks the point as finished.

    Raises ScoringError if a shard is not finished, with the number of utterances that are, and if
    our scores of the union are not SimulEval's.
    """
    with locked(sweep.setup.folder(point)):
        _merge(sweep, point, shards)


def _merge(sweep: Sweep, point: Point, shards: Sequence[Shard]) -> None:
    setup = sweep.setup
    progress = [read_progress(setup, point, shard, sweep.inputs) for shard in shards]
    lines = [line for one in progress for line in one.lines]
    if len(lines) != len(setup.test_set):
        raise ScoringError(f"{len(lines)} of {len(setup.test_set)} utterances are finished.")
    folder = setup.folder(point)
    # The marker goes first: from here on the point is not finished.
    (folder / MARKER).unlink(missing_ok=True)
    if setup.speaks:
        lines = _collect_recordings(lines, folder / WAVS)
    write_whole(folder / INSTANCES_LOG, "".join(lines))
    utterances = setup.read(point)
    if tuple(utterance.reference for utterance in utterances) != setup.test_set.references:
        raise ScoringError(f"{folder / INSTANCES_LOG}: does not hold the lines of the target list.")
    scores = setup.score(utterances)
    if scores.num_empty == len(utterances):
        raise ScoringError(SILENT)
    shutil.copyfile(_first_config(progress), folder / CONFIG)
    _score_with_simuleval(folder, setup)
    compare_with_simuleval(scores, folder / SIMULEVAL_SCORES)
    parts = [part for one in progress for part in one.parts]
    seconds = sum(part.get("wall_seconds", math.nan) for part in parts)
    write_marker(
        folder,
        command=setup.command(point),
        inputs=dict(sweep.inputs),
        started=min(part["started"] for part in parts),
        finished=now(),
        # unknown when a sweep was killed together with its processes
        wall_seconds=None if math.isnan(seconds) else seconds,
        provenance=dict(sweep.provenance),
        shards=len(shards),
        parts=[{k: v for k, v in part.items() if k != "inputs"} for part in parts],
    )


def _first_config(progress: Sequence[Progress]) -> Path:
    command = progress[0].parts[0]["command"]
    return Path(command[command.index("--output") + 1]) / CONFIG


def _collect_recordings(lines: Sequence[str], wavs: Path) -> list[str]:
    """Puts the recordings of shards into one folder; the lines with their new paths.

    They are there by a second name, which takes no room, or as copies.
    """
    remove_folder(wavs)
    wavs.mkdir()
    collected = []
    for line in lines:
        logged = parse_line(line.encode())
        path = wavs / f"{logged['index']}_pred.wav"  # as SimulEval calls it
        try:
            os.link(logged["prediction"], path)
        except OSError:  # a file system without links
            shutil.copyfile(logged["prediction"], path)
        collected.append(json.dumps({**logged, "prediction": str(path.absolute())}) + "\n")
    return collected


def _score_with_simuleval(folder: Path, setup: Setup) -> None:
    """Writes scores.tsv from the table that SimulEval prints for the log in a folder."""
    log = folder / RUN_LOG
    with open(log, "wb") as errors:
        done = subprocess.run(
            [
                *(str(find_simuleval()), "--score-only", "--output", str(folder)),
                *(*setup.scored, *setup.scoring_args),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **ENVIRONMENT},
        )
        errors.write(done.stdout)
    if done.returncode != 0:
        raise ScoringError(f"{describe_end(Ended(done.returncode, log, '', 0.0))} (log: {log})")
    # a line with the names; a line with the number of the row, 0, and the values
    names, values = ([], [], *map(str.split, done.stdout.decode().splitlines()))[-2:]
    if not names or len(values) != len(names) + 1:
        raise ScoringError(f"{log}: SimulEval printed no table of scores.")
    write_whole(folder / SIMULEVAL_SCORES, "\t".join(names) + "\n" + "\t".join(values[1:]) + "\n")
