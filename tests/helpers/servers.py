"""Servers in processes of their own, for tests; and SimulEval's local run beside its server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SEGMENT_MS = 320


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"no server: {log.read_text()}"
        time.sleep(0.05)


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a server from the moment it accepts connections; it is ended afterwards."""
    with open(log, "wb") as output:
        process = subprocess.Popen(command, env=environment(), stdout=output, stderr=output)
    try:
        wait_until_listening(port, process, log)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def standalone(folder: Path, *agent: str) -> Iterator[str]:
    """An agent behind SimulEval's server; its address."""
    port = free_port()
    command = [sys.executable, "-m", "simuleval.cli", "--standalone"]
    command += ["--remote-port", str(port), *agent]
    with running(command, port, folder / "server.log"):
        yield f"http://localhost:{port}"


@dataclass(frozen=True)
class Lists:
    """What both ways of evaluating are given."""

    source: Path
    target: Path

    @property
    def flags(self) -> list[str]:
        flags = ["--source", str(self.source), "--target", str(self.target)]
        return [*flags, "--source-segment-size", str(SEGMENT_MS)]


def write_lists(folder: Path, recordings: list[Path]) -> Lists:
    lists = Lists(folder / "source.txt", folder / "target.txt")
    lists.source.write_text("".join(f"{path}\n" for path in recordings))
    lists.target.write_text("the black cat sleeps in the house\n" * len(recordings))
    return lists


def local_run(lists: Lists, output: Path, *agent: str) -> list[dict[str, Any]]:
    """The log of SimulEval's own run."""
    command = [sys.executable, "-m", "simuleval.cli", *lists.flags, *agent]
    command += ["--output", str(output), "--latency-metrics", "AL", "--no-progress-bar"]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return read_log(output)


def read_log(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "instances.log").read_text().splitlines()]


def without_times(instances: list[dict[str, Any]]) -> list[list[tuple[str, Any]]]:
    """Keys, their order and their values, but for those that this machine's speed decides."""
    return [[(k, None if k == "elapsed" else v) for k, v in i.items()] for i in instances]
