"""One point of a latency curve: the command that runs it, and when a finished one still counts."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import echostream
from echostream.scoring.instances import LATENCY_METRICS
from echostream.streaming import GROUP_MS
from eval.inputs import TestSet

MARKER = "point.json"  # written last: a folder without it is not finished
INSTANCES = "instances.log"
SIMULEVAL_SCORES = "scores.tsv"
RUN_LOG = "run.log"


@dataclass(frozen=True)
class Point:
    """What varies along a curve; `segment_ms` None is offline, one segment for the utterance."""

    max_future_frames: int
    segment_ms: int | None
    stride_n: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        segment = "offline" if self.segment_ms is None else f"seg{self.segment_ms}"
        return f"L{self.max_future_frames}_{segment}_n{self.stride_n}"

    @property
    def algorithmic_latency_ms(self) -> int:
        """What the encoder waits for before a frame comes out: its group, and L groups more."""
        return GROUP_MS * (1 + self.max_future_frames)


@dataclass(frozen=True)
class Setup:
    """What all points of a curve have in common."""

    agent: Path
    model_path: Path
    test_set: TestSet
    output: Path
    agent_args: tuple[str, ...] = ()  # handed to the agent as they are

    def folder(self, point: Point) -> Path:
        """Where a point leaves its files."""
        return self.output / point.name

    def command(self, point: Point) -> list[str]:
        """The command of a point, with `simuleval` as its first word."""
        segment = self.test_set.longest_ms if point.segment_ms is None else point.segment_ms
        return [
            "simuleval",
            *("--agent", str(self.agent)),
            *("--model-path", str(self.model_path)),
            *("--source", str(self.test_set.source)),
            *("--target", str(self.test_set.target)),
            *("--output", str(self.folder(point))),
            *("--max-future-frames", str(point.max_future_frames)),
            *("--source-segment-size", str(segment)),
            *("--stride-n", str(point.stride_n)),
            *("--quality-metrics", "BLEU"),
            # No --computation-aware: SimulEval 1.1.4 would put CA values into the plain columns.
            *("--latency-metrics", *LATENCY_METRICS),
            "--no-progress-bar",
            *self.agent_args,
        ]

    def inputs_digest(self) -> dict[str, str]:
        """What the result depends on beside the command: a digest of each input, by name.

        The agent file, EchoStream's code, the lists and the model go by content, the recordings
        by size and time of change.
        """
        return {
            # what trains a model is not run here
            "code": _digest(Path(echostream.__file__).parent, "*.py", but=("training", "data")),
            "agent": _digest(self.agent),
            "model": _digest(self.model_path),
            "source": _digest(self.test_set.source),
            "target": _digest(self.test_set.target),
            "recordings": _digest_of_stats(self.test_set.recordings),
            "simuleval": importlib.metadata.version("simuleval"),
        }


def find_simuleval() -> Path:
    """The `simuleval` command of the environment this interpreter belongs to.

    Raises FileNotFoundError when the environment has none. One that is elsewhere on the PATH is
    not taken: it would run another torch and another EchoStream.
    """
    places = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts")])
    found = shutil.which("simuleval", path=places)
    if found is None:
        raise FileNotFoundError(
            f"no `simuleval` command in {places}: "
            f"install it with `{sys.executable} -m pip install simuleval`."
        )
    return Path(found)


def write_marker(folder: Path, **entries: Any) -> None:
    """Mark a point as finished, with its record. Call it when everything else is on disk."""
    record = {**entries, "instances_sha256": _digest(folder / INSTANCES)}
    temporary = folder / f"{MARKER}.tmp"
    temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / MARKER)


def read_marker(folder: Path, command: list[str], inputs: dict[str, str]) -> dict[str, Any] | None:
    """The record of a finished point, or None when it must be run (again).

    It counts only if the command, the inputs and instances.log are still those of the record.
    """
    try:
        record = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        unchanged = (
            record["command"] == command
            and record["inputs"] == inputs
            and record["instances_sha256"] == _digest(folder / INSTANCES)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(record) if unchanged else None


def _digest(path: Path, pattern: str = "*", but: tuple[str, ...] = ()) -> str:
    """Of a file its content; of a folder the names and contents of its files."""
    digest = hashlib.sha256()
    files = (
        [path] if path.is_file() else sorted(file for file in path.rglob(pattern) if file.is_file())
    )
    for file in files:
        name = file.relative_to(path)
        if name.parts[:1] in [(folder,) for folder in but]:
            continue
        digest.update(f"{name} {file.stat().st_size}\n".encode())
        with open(file, "rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _digest_of_stats(paths: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
