"""Shards: contiguous parts of a test set, each evaluated in a folder of its own.

The lists are split. With SimulEval's --start-index and --end-index every agent would check the
whole list, one build cannot score a run that does not begin at 0, and --continue-unfinished relies
on the last line of a log, which may be cut.

In the folder of a shard each process has its own folder, named after its first utterance:
`from-21`. The finished utterances of a killed process stay there, and the next process evaluates
the rest. Nothing is moved or written twice, so a process may be killed at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from echostream.evaluation.point import Part, Point, Setup
from echostream.evaluation.test_set import TestSet
from echostream.files import write_whole
from echostream.scoring.judge.recordings import find_recording
from echostream.scoring.log import INSTANCES_LOG, parse_complete_utterance
from echostream.scoring.log_line import parse_line

PART = "part.json"  # written before the process of a part is started


@dataclass(frozen=True)
class Shard:
    """Part `number` of `num_shards`: the utterances `start` to `stop` - 1 of a test set."""

    number: int
    num_shards: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"shard-{self.number}-of-{self.num_shards}"


@dataclass(frozen=True)
class Progress:
    """The finished utterances of a shard."""

    lines: tuple[str, ...]  # of instances.log, numbered as in the whole test set
    parts: tuple[dict[str, Any], ...]  # the record of each process that finished some
    cut: tuple[str, ...]  # descriptions of damaged lines, which do not count


def cut_shards(num_utterances: int, num_shards: int) -> list[Shard]:
    """Splits a test set into parts whose sizes differ by at most one.

    Raises ValueError unless every part has at least one utterance.
    """
    if not 1 <= num_shards <= num_utterances:
        raise ValueError(
            f"`num_shards` must be 1 to {num_utterances}, the number of utterances, "
            f"but is {num_shards} instead."
        )
    edges = [number * num_utterances // num_shards for number in range(num_shards + 1)]
    return [
        Shard(number, num_shards, start, stop)
        for number, (start, stop) in enumerate(pairwise(edges))
    ]


def part_from(setup: Setup, point: Point, shard: Shard, start: int) -> Part:
    """The lists and the folder of a process that evaluates a shard from utterance `start`."""
    folder = setup.folder(point) / shard.name / f"from-{start}"
    return Part(folder / "source.txt", folder / "target.txt", folder)


def write_lists(part: Part, test_set: TestSet, start: int, stop: int) -> None:
    """Writes the lists of a part: the utterances `start` to `stop` - 1 of a test set."""
    for path, lines in ((part.source, test_set.sources), (part.target, test_set.references)):
        write_whole(path, "".join(f"{line}\n" for line in lines[start:stop]))


def write_part(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes the command and inputs of the process of a part and, later, when it ended."""
    write_whole(folder / PART, json.dumps(record, indent=2) + "\n")


def read_part(folder: Path) -> dict[str, Any] | None:
    """The record of `write_part`; None if there is no valid one."""
    try:
        return dict(json.loads((folder / PART).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def read_progress(setup: Setup, point: Point, shard: Shard, inputs: Mapping[str, str]) -> Progress:
    """The utterances of a shard finished by processes with the present options and inputs."""
    lines: list[str] = []
    parts: list[dict[str, Any]] = []
    cut: list[str] = []
    while (start := shard.start + len(lines)) < shard.stop:
        part = part_from(setup, point, shard, start)
        record = read_part(part.output)
        now = {"command": setup.command(point, part), "inputs": dict(inputs)}
        if record is None or any(record.get(name) != value for name, value in now.items()):
            break
        unit = setup.counting.latency_unit
        found, damage = _finished(part.output / INSTANCES_LOG, start, shard.stop, unit)
        if damage:
            cut.append(damage)
        if not found:
            break
        lines += found
        parts.append({**record, "utterances": [start, start + len(found)]})
    return Progress(tuple(lines), tuple(parts), tuple(cut))


def _finished(path: Path, start: int, stop: int, unit: str) -> tuple[list[str], str]:
    """The complete first lines of a log, renumbered from `start`; why the next one is not.

    A line of speech is complete if its recording is there.
    """
    if not path.exists():  # killed before it began
        return [], ""
    *lines, rest = path.read_bytes().split(b"\n")
    found: list[str] = []
    reason = "it is cut" if rest else ""
    for line in lines:
        changes: dict[str, Any] = {"index": start + len(found)}
        try:
            utterance = parse_complete_utterance(line, unit)
            index = utterance.index
            if utterance.is_speech:
                changes["prediction"] = str(find_recording(path.parent, utterance).absolute())
        except ValueError as error:
            reason = str(error)
            break
        if index != len(found) or start + len(found) >= stop:
            reason = f"it is of utterance {index}"
            break
        found.append(json.dumps({**parse_line(line), **changes}) + "\n")
    if reason:
        return found, f"{path}: line {len(found) + 1} is cut or damaged ({reason.rstrip('.')})"
    return found, ""
