"""The two lists that SimulEval reads, checked before anything is started.

SimulEval itself meets a missing file after the model is loaded, takes a blank line for an empty
path, and divides by zero at scoring time when a recording has no samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echostream.files import write_whole
from echostream.frontend.audio import AudioError
from echostream.frontend.audio_header import read_headers
from echostream.frontend.recording_list import ListError, read_list

_MOST_NAMED = 10  # faults listed in one message


class InputError(ValueError):
    """Lists that cannot be evaluated; the message names each file and line at fault."""


@dataclass(frozen=True)
class TestSet:
    """A source list and a target list that belong together, and the recordings they name."""

    # pytest would otherwise take this class for a test
    __test__ = False

    source: Path
    target: Path
    sources: tuple[str, ...]  # the lines of the two lists
    references: tuple[str, ...]
    longest_ms: int  # rounded up

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def recordings(self) -> tuple[Path, ...]:
        """Where the recordings are."""
        return tuple(Path(line) for line in self.sources)


def read_test_set(source: Path, target: Path) -> TestSet:
    """Read and check a list of recordings (a path a line) and of references (a sentence a line).

    Raises InputError for a list that cannot be read, blank lines, different numbers of lines, and
    recordings that are missing, that SimulEval cannot read as a whole, or that have no samples.
    """
    sources, references = _lines(source), _lines(target)
    if len(sources) != len(references):
        shorter, line = (
            (source, len(sources))
            if len(sources) < len(references)
            else (
                target,
                len(references),
            )
        )
        raise InputError(
            f"{source} and {target} must have equally many lines, "
            f"but have {len(sources)} and {len(references)} instead: {shorter} ends at line {line}."
        )
    test_set = TestSet(source, target, tuple(sources), tuple(references), longest_ms=0)
    faults = []
    longest = 0.0
    for number, header in enumerate(read_headers(sources), start=1):
        if isinstance(header, AudioError):
            faults.append(f"line {number}: {header}")
        elif header.num_samples == 0:
            faults.append(f"line {number}: {sources[number - 1]}: has no samples")
        else:
            longest = max(longest, 1000 * header.num_samples / header.sample_rate)
    if faults:
        shown = faults[:_MOST_NAMED]
        if len(faults) > len(shown):
            shown.append(f"... and {len(faults) - len(shown)} more")
        raise InputError(
            f"{source} names {len(faults)} recordings that cannot be used "
            f"(relative paths start at {Path.cwd()}):\n  " + "\n  ".join(shown)
        )
    return replace(test_set, longest_ms=math.ceil(longest))


def _lines(path: Path) -> list[str]:
    """The lines of a list, stripped as SimulEval does, without blank ones at its end."""
    try:
        lines = read_list(path, mark_allowed=True)
    except ListError as error:
        raise InputError(str(error)) from error
    if not any(lines):
        raise InputError(f"{path}: is empty.")
    while not lines[-1]:
        lines.pop()
    blank = [str(number) for number, line in enumerate(lines, start=1) if not line]
    if blank:
        raise InputError(
            f"{path}: must have no blank line, but line {', '.join(blank[:_MOST_NAMED])} is one."
        )
    return lines


def check_single_references(test_set: TestSet) -> None:
    """Raises InputError naming the lines that hold several references."""
    several = [str(n) for n, line in enumerate(test_set.references, start=1) if "\t" in line]
    if several:
        raise InputError(
            f"{test_set.target}: must have one reference a line, but line "
            f"{', '.join(several[:_MOST_NAMED])} holds a tab: SimulEval takes what it separates "
            "for one sentence. `echostream score` scores a log with several references."
        )


def with_plain_lists(test_set: TestSet, folder: Path) -> TestSet:
    """The same test set with lists that SimulEval reads as they were read here.

    SimulEval takes a byte order mark for a part of the first line and a blank line at the end for
    an utterance; such a list is written once more, into `folder`. Raises OSError.
    """
    plain: dict[str, Any] = {}
    for name, path, lines in (
        ("source", test_set.source, test_set.sources),
        ("target", test_set.target, test_set.references),
    ):
        with open(path, encoding="utf-8") as file:
            if [line.strip() for line in file] != list(lines):
                plain[name] = folder / f"{name}.txt"
                write_whole(plain[name], "".join(f"{line}\n" for line in lines))
    return replace(test_set, **plain)
