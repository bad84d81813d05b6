"""Runs tasks: several `simuleval` processes at a time, each in a folder of its own.

A task that fails leaves its log and does not stop the others; finished tasks are not run again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from echostream.evaluation.point import find_simuleval
from echostream.evaluation.tasks import Ended, Task, now
from echostream.files import locked
from echostream.scoring.log import ScoringError

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
# SimulEval reads lists and logs in the encoding of the locale; they are UTF-8.
ENVIRONMENT = {**ONE_THREAD, "PYTHONUTF8": "1"}
_HOME = Path(__file__).resolve().parents[2]
if _HOME not in map(Path, (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))):
    # A checkout: `simuleval` must import the same code.
    ENVIRONMENT["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(_HOME), os.environ.get("PYTHONPATH")))
    )
_POLL_SECONDS = 0.1
# The signals that end a process, and the seconds to wait after each. SimulEval buffers the end of
# its log: interrupted, it writes it; terminated, it does not.
_ENDINGS = ((signal.SIGINT, 5), (signal.SIGTERM, 5), (signal.SIGKILL, None))


@dataclass(frozen=True)
class Failure:
    """A task or a point that could not be finished."""

    name: str
    reason: str
    log: Path


def run_tasks(
    tasks: Sequence[Task], jobs: int, report: Callable[[str], None], rerun: bool = False
) -> list[Failure]:
    """Runs the tasks that are not finished, up to `jobs` processes at a time.

    report: called with one line about each task when it starts and when it ends.
    rerun: also run the finished tasks.

    An interrupt ends the processes; finished tasks stay finished.
    """
    simuleval = find_simuleval()
    failures: list[Failure] = []
    waiting: deque[Task] = deque()
    for task in tasks:
        done = None if rerun else task.done()
        if done is None:
            waiting.append(task)
        else:
            report(f"{task.name}: {done}")

    def fail(task: Task, error: Exception, log: Path) -> None:
        failures.append(Failure(task.name, str(error), log))
        report(f"{task.name}: FAILED: {error} (log: {log})")

    running: list[_Run] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.popleft()
                try:
                    running.append(_Run(task, simuleval, report, rerun))
                except OSError as error:
                    fail(task, error, task.folder)
            for run in [run for run in running if run.process.poll() is not None]:
                running.remove(run)
                try:
                    wall_seconds = run.finish()
                except (ScoringError, OSError) as error:
                    fail(run.task, error, run.log)
                else:
                    report(f"{run.task.name}: done in {wall_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)
    finally:
        for run in running:
            run.stop()
    return failures


class _Run:
    """The process of one task."""

    def __init__(
        self, task: Task, simuleval: Path, report: Callable[[str], None], rerun: bool
    ) -> None:
        self.task = task
        with locked(task.folder) as lock:
            if rerun:
                task.forget()
            command, self.log = task.start(report)
            self.started = now()
            self._clock = time.monotonic()
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen(
                    [str(simuleval), *command[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **ENVIRONMENT},
                    pass_fds=(lock,),  # the folder stays locked until this process ends
                    preexec_fn=_accept_interrupts,
                )

    def finish(self) -> float:
        """Checks the files of the ended process; returns its wall time in seconds.

        Raises ScoringError if the process failed or its run is incomplete or inconsistent.
        """
        wall_seconds = time.monotonic() - self._clock
        self.task.finish(Ended(self.process.returncode, self.log, self.started, wall_seconds))
        return wall_seconds

    def stop(self) -> None:
        """Ends the process and waits for it."""
        for number, seconds in _ENDINGS:
            self.process.send_signal(number)
            try:
                self.process.wait(timeout=seconds)
                return
            except subprocess.TimeoutExpired:
                continue


def _accept_interrupts() -> None:
    # A shell makes background processes ignore SIGINT, and their children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
