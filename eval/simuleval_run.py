"""Runs the points of a curve: several `simuleval` processes at a time, each in a folder of its own.

A point is finished when its marker is written, which is the last thing done to its folder.
Finished points are not run again; a point that fails leaves its log and does not stop the others.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from echostream.scoring.instances import ScoringError, compare_with_simuleval, read_instances, score
from eval.point import (
    INSTANCES,
    MARKER,
    RUN_LOG,
    SIMULEVAL_SCORES,
    Point,
    Setup,
    find_simuleval,
    read_marker,
    write_marker,
)

_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Failure:
    """A point that could not be finished."""

    point: Point
    reason: str
    log: Path


@dataclass(frozen=True)
class Outcome:
    """What became of the points: the records of the finished ones, and the failures."""

    records: dict[Point, dict[str, Any]]
    failures: tuple[Failure, ...]


def run_points(
    setup: Setup,
    points: Sequence[Point],
    jobs: int,
    provenance: Mapping[str, Any],
    report: Callable[[str], None],
    rerun: bool = False,
) -> Outcome:
    """Run what is not finished yet of `points`, up to `jobs` processes at a time.

    provenance: goes into the record of each point that is run (commit, versions, machine, jobs).
    report: is told one line about each point, when it starts and when it ends.
    rerun: run the finished ones, too.

    When it is interrupted, the processes are ended and finished points stay finished.
    """
    simuleval = find_simuleval()
    inputs = setup.inputs_digest()
    records: dict[Point, dict[str, Any]] = {}
    failures: list[Failure] = []
    waiting: deque[Point] = deque()
    for point in points:
        record = None if rerun else read_marker(setup.folder(point), setup.command(point), inputs)
        if record is None:
            waiting.append(point)
        else:
            records[point] = record
            report(f"{point.name}: already done on {record['finished']}")
    running: list[_Run] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                point = waiting.popleft()
                running.append(_Run(setup, point, simuleval))
                report(f"{point.name}: started")
            for run in [run for run in running if run.process.poll() is not None]:
                running.remove(run)
                try:
                    record = run.finish(inputs, provenance)
                except (ScoringError, OSError) as error:
                    failures.append(Failure(run.point, str(error), run.log))
                    report(f"{run.point.name}: FAILED: {error} (log: {run.log})")
                else:
                    records[run.point] = record
                    report(f"{run.point.name}: done in {record['wall_seconds']:.0f} s")
            time.sleep(_POLL_SECONDS)
    finally:
        for run in running:
            run.stop()
    return Outcome(records, tuple(failures))


class _Run:
    """One process at work on one point."""

    def __init__(self, setup: Setup, point: Point, simuleval: Path) -> None:
        self.setup = setup
        self.point = point
        self.folder = setup.folder(point)
        self.log = self.folder / RUN_LOG
        self.folder.mkdir(parents=True, exist_ok=True)
        # The marker goes first: from here on the point is not finished.
        for name in (MARKER, INSTANCES, SIMULEVAL_SCORES):
            (self.folder / name).unlink(missing_ok=True)
        self.started = _now()
        self._clock = time.monotonic()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(simuleval), *setup.command(point)[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_ONE_THREAD},
            )

    def finish(self, inputs: dict[str, str], provenance: Mapping[str, Any]) -> dict[str, Any]:
        """Check what the ended process left, mark the point as finished and return its record.

        Raises ScoringError when the process failed, or left less than a whole and consistent run.
        """
        wall_seconds = time.monotonic() - self._clock
        if self.process.returncode != 0:
            raise ScoringError(self._why_it_failed())
        utterances = read_instances(self.folder / INSTANCES, len(self.setup.test_set))
        compare_with_simuleval(score(utterances), self.folder / SIMULEVAL_SCORES)
        command = self.setup.command(self.point)
        write_marker(
            self.folder,
            command=command,
            inputs=inputs,
            started=self.started,
            finished=_now(),
            wall_seconds=wall_seconds,
            provenance=dict(provenance),
        )
        record = read_marker(self.folder, command, inputs)
        if record is None:
            raise ScoringError(f"{self.folder}: changed while it was being marked as finished.")
        return record

    def stop(self) -> None:
        """End the process and wait until it is gone."""
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _why_it_failed(self) -> str:
        try:
            utterances = read_instances(self.folder / INSTANCES, len(self.setup.test_set))
        except ScoringError:
            utterances = []
        if utterances and not any(utterance.delays_ms for utterance in utterances):
            return "the agent wrote nothing for any utterance, which SimulEval cannot score"
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1].strip() if lines else "it printed nothing"
        return f"simuleval ended with status {self.process.returncode}: {last}"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
