"""Shards: contiguous shares of a test set, each evaluated in a folder of its own.

The lists are cut. SimulEval's --start-index and --end-index would let every agent look through the
whole list, one build cannot score what does not begin at 0, and --continue-unfinished goes by the
last line of a log, which may be cut.

In the folder of a shard each process has its own folder, named after the first utterance it was
given: `from-21`. What a process that was killed has finished stays where it is, and the next one is
given the rest. Nothing is moved or written twice, so it does not matter when it was killed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from echostream.evaluation.point import INSTANCES, Part, Point, Setup
from echostream.evaluation.test_set import TestSet
from echostream.files import write_whole
from echostream.scoring.instances import parse_utterance
from echostream.scoring.log_line import parse_line

PART = "part.json"  # written before the process of a part is started


@dataclass(frozen=True)
class Shard:
    """Share `number` of `num_shards`: the utterances `start` to `stop` - 1 of a test set."""

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
    """What the processes of a shard have finished so far."""

    lines: tuple[str, ...]  # of instances.log, numbered as in the whole test set
    parts: tuple[dict[str, Any], ...]  # the record of each process that finished some of them
    cut: tuple[str, ...]  # what was found damaged and does not count, in words


def cut_shards(num_utterances: int, num_shards: int) -> list[Shard]:
    """Shares of a test set whose sizes differ by at most one.

    Raises ValueError unless every share has at least one utterance.
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
    """The lists and the folder of a process that is given what is left of a shard from `start`."""
    folder = setup.folder(point) / shard.name / f"from-{start}"
    return Part(folder / "source.txt", folder / "target.txt", folder)


def write_lists(part: Part, test_set: TestSet, start: int, stop: int) -> None:
    """Write the lists of a part: the utterances `start` to `stop` - 1 of a test set."""
    for path, lines in ((part.source, test_set.sources), (part.target, test_set.references)):
        write_whole(path, "".join(f"{line}\n" for line in lines[start:stop]))


def write_part(folder: Path, record: Mapping[str, Any]) -> None:
    """Write what the process of a part was started with and, later, when it ended."""
    write_whole(folder / PART, json.dumps(record, indent=2) + "\n")


def read_part(folder: Path) -> dict[str, Any] | None:
    """What `write_part` wrote; None where it did not, or something else is."""
    try:
        return dict(json.loads((folder / PART).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def read_progress(setup: Setup, point: Point, shard: Shard, inputs: Mapping[str, str]) -> Progress:
    """What is finished of a shard, by processes with the options and inputs of now."""
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
        found, damage = _finished(part.output / INSTANCES, start, shard.stop, unit)
        if damage:
            cut.append(damage)
        if not found:
            break
        lines += found
        parts.append({**record, "utterances": [start, start + len(found)]})
    return Progress(tuple(lines), tuple(parts), tuple(cut))


def _finished(path: Path, start: int, stop: int, unit: str) -> tuple[list[str], str]:
    """The whole lines a log begins with, renumbered from `start`; what follows them, in words."""
    if not path.exists():  # killed before it began
        return [], ""
    *lines, rest = path.read_bytes().split(b"\n")
    found: list[str] = []
    reason = "it is cut" if rest else ""
    for line in lines:
        try:
            index = parse_utterance(line, unit).index
        except ValueError as error:
            reason = str(error)
            break
        if index != len(found) or start + len(found) >= stop:
            reason = f"it is of utterance {index}"
            break
        entry = {**parse_line(line), "index": start + len(found)}
        found.append(json.dumps(entry) + "\n")
    if reason:
        return found, f"{path}: line {len(found) + 1} is cut or damaged ({reason.rstrip('.')})"
    return found, ""
