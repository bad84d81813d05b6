"""The task of one `simuleval` process: a whole point of a curve, or one shard of it."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from echostream.evaluation.point import (
    MARKER,
    RUN_LOG,
    SIMULEVAL_SCORES,
    Point,
    Setup,
    read_marker,
    write_marker,
)
from echostream.evaluation.shards import (
    Progress,
    Shard,
    cut_shards,
    part_from,
    read_part,
    read_progress,
    write_lists,
    write_part,
)
from echostream.scoring.judge.recordings import WAVS
from echostream.scoring.log import INSTANCES_LOG, ScoringError
from echostream.scoring.simuleval_scores import compare_with_simuleval

SILENT = "the agent wrote nothing for any utterance, which SimulEval cannot score"


@dataclass(frozen=True)
class Sweep:
    """The setup that all tasks share, its digest, and the provenance of the results."""

    setup: Setup
    inputs: Mapping[str, str]
    provenance: Mapping[str, Any]

    def record(self, point: Point) -> dict[str, Any] | None:
        """The record of a point, evaluated whole or in shards; None if it is not finished."""
        return read_marker(self.setup.folder(point), self.setup.command(point), dict(self.inputs))


@dataclass(frozen=True)
class Ended:
    """An ended process, with its times."""

    status: int
    log: Path
    started: str
    wall_seconds: float


class Task(Protocol):
    """The work of one process in a folder of its own."""

    @property
    def name(self) -> str:
        """The name in reports."""

    @property
    def folder(self) -> Path:
        """The output folder."""

    def done(self) -> str | None:
        """A sentence if it is finished; None if it has to be run."""

    def forget(self) -> None:
        """Removes the results of earlier processes."""

    def start(self, report: Callable[[str], None]) -> tuple[list[str], Path]:
        """Prepares the folder; returns the command and the path for its output."""

    def finish(self, ended: Ended) -> None:
        """Checks the files of the process and marks the task as done. Raises ScoringError."""


class WholePoint:
    """A point that one process evaluates from the first utterance to the last."""

    def __init__(self, sweep: Sweep, point: Point) -> None:
        self.sweep = sweep
        self.point = point
        self.name = point.name
        self.folder = sweep.setup.folder(point)

    def done(self) -> str | None:
        record = self.sweep.record(self.point)
        return None if record is None else f"already done on {record['finished']}"

    def forget(self) -> None:
        # The marker goes first: from here on the point is not finished.
        for name in (MARKER, INSTANCES_LOG, SIMULEVAL_SCORES):
            (self.folder / name).unlink(missing_ok=True)
        remove_folder(self.folder / WAVS)  # which may be the files of shards by other names

    def start(self, report: Callable[[str], None]) -> tuple[list[str], Path]:
        self.forget()
        report(f"{self.name}: started")
        return self.sweep.setup.command(self.point), self.folder / RUN_LOG

    def finish(self, ended: Ended) -> None:
        if ended.status != 0:
            raise ScoringError(self._why_it_failed(ended))
        setup = self.sweep.setup
        compare_with_simuleval(setup.score(setup.read(self.point)), self.folder / SIMULEVAL_SCORES)
        write_marker(
            self.folder,
            command=setup.command(self.point),
            inputs=dict(self.sweep.inputs),
            started=ended.started,
            finished=now(),
            wall_seconds=ended.wall_seconds,
            provenance=dict(self.sweep.provenance),
        )

    def _why_it_failed(self, ended: Ended) -> str:
        try:
            utterances = self.sweep.setup.read(self.point)
        except ScoringError:
            utterances = []
        if utterances and not any(utterance.delays for utterance in utterances):
            return SILENT
        return describe_end(ended)


class OneShard:
    """A shard of a point; its finished utterances are not evaluated again."""

    def __init__(self, sweep: Sweep, point: Point, shard: Shard) -> None:
        self.sweep = sweep
        self.point = point
        self.shard = shard
        self.name = f"{point.name}/{shard.name}"
        self.folder = sweep.setup.folder(point) / shard.name

    def progress(self) -> Progress:
        return read_progress(self.sweep.setup, self.point, self.shard, self.sweep.inputs)

    def done(self) -> str | None:
        record = self.sweep.record(self.point)
        if record is not None:
            return f"already done on {record['finished']}"
        progress = self.progress()
        complete = len(progress.lines) == len(self.shard)
        return f"already done on {progress.parts[-1]['started']}" if complete else None

    def forget(self) -> None:
        (self.sweep.setup.folder(self.point) / MARKER).unlink(missing_ok=True)
        for part in self.folder.glob("from-*"):
            shutil.rmtree(part)

    def start(self, report: Callable[[str], None]) -> tuple[list[str], Path]:
        setup, shard = self.sweep.setup, self.shard
        progress = self.progress()
        for damage in progress.cut:
            report(f"{self.name}: {damage}, and is evaluated again")
        start = shard.start + len(progress.lines)
        part = part_from(setup, self.point, shard, start)
        remove_folder(part.output)
        part.output.mkdir(parents=True)
        write_lists(part, setup.test_set, start, shard.stop)
        command = setup.command(self.point, part)
        write_part(
            part.output,
            {
                "command": command,
                "inputs": dict(self.sweep.inputs),
                "started": now(),
                "provenance": dict(self.sweep.provenance),
            },
        )
        on = f", goes on after {len(progress.lines)} utterances" if progress.lines else ""
        report(f"{self.name}: started{on}")
        return command, part.output / RUN_LOG

    def finish(self, ended: Ended) -> None:
        """The shard is done if its log is complete, whatever the exit status.

        SimulEval cannot score a shard with empty output only. The union is scored after merging.
        """
        record = read_part(ended.log.parent)
        if record is not None:
            write_part(
                ended.log.parent, {**record, "finished": now(), "wall_seconds": ended.wall_seconds}
            )
        progress = self.progress()
        finished = len(progress.lines)
        if finished < len(self.shard):
            words = [
                f"{finished} of {len(self.shard)} utterances are finished",
                describe_end(ended),
            ]
            raise ScoringError("; ".join([*words, *progress.cut[-1:]]))


def make_tasks(sweep: Sweep, points: Sequence[Point], num_shards: int) -> list[Task]:
    """The tasks of all points, in the order of the points; the number of a task is its index."""
    if num_shards == 1:
        return [WholePoint(sweep, point) for point in points]
    shards = cut_shards(len(sweep.setup.test_set), num_shards)
    return [OneShard(sweep, point, shard) for point in points for shard in shards]


def describe_end(ended: Ended) -> str:
    """The exit of a process and the last line of its output."""
    try:
        lines = ended.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1].strip() if lines else "it printed nothing"
    except OSError as error:  # the folder was deleted under it
        last = f"its log cannot be read: {error.strerror or error}"
    if ended.status < 0:
        return (
            f"simuleval was killed by {signal.Signals(-ended.status).name}; its last line: {last}"
        )
    return f"simuleval ended with status {ended.status}: {last}"


def remove_folder(folder: Path) -> None:
    """Removes a folder that may not be there."""
    if folder.exists():
        shutil.rmtree(folder)


def now() -> str:
    """The date and time, in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
