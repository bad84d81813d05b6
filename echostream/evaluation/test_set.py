"""The source and target lists of SimulEval, checked before anything is started.

SimulEval itself finds a missing file after the model is loaded, takes a blank line for an empty
path, and divides by zero at scoring time if a recording has no samples. It empties `instances.log`
and then loads the audio of every utterance: one unreadable file ends the run with nothing evaluated
and the results of an earlier run lost.

`read_test_set` reads the lists for a sweep, `check_lists` as SimulEval will read them. Both name
all faults in one message.
"""

from __future__ import annotations

import locale
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echostream.files import write_whole
from echostream.frontend.audio import AudioError
from echostream.frontend.audio_header import Header, read_headers
from echostream.frontend.recording_list import ListError, read_list

logger = logging.getLogger(__name__)

_MOST_NAMED = 100  # faults listed in one message


class InputError(ValueError):
    """Lists that cannot be evaluated; the message names each file and line at fault."""


@dataclass(frozen=True)
class TestSet:
    """A source list and a target list of the same length, and the recordings they name."""

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
        """The paths of the recordings."""
        return tuple(Path(line) for line in self.sources)


def read_test_set(source: Path, target: Path) -> TestSet:
    """Reads a list of recordings and one of references, both UTF-8 with one entry per line.

    A byte order mark and blank lines at the end are allowed (see `with_plain_lists`).

    Raises InputError for a list that cannot be read, blank lines, different numbers of lines, and
    recordings that are missing, that SimulEval cannot read as a whole, or that have no samples.
    """
    sources, references = (_read_without_blank_end(path) for path in (source, target))
    faults = _faults_of_lists(source, sources, target, references)
    if isinstance(references, list):
        faults += _blank_lines(target, dict(enumerate(references, 1)), "a reference").values()
    longest = 0.0
    if isinstance(sources, list):
        headers, faults_of_recordings = _headers(source, dict(enumerate(sources, 1)))
        faults += faults_of_recordings
        for line, header in headers.items():
            if header.num_samples == 0:
                faults.append(f"{source}, line {line}: {sources[line - 1]}: has no samples")
            else:
                longest = max(longest, 1000 * header.num_samples / header.sample_rate)
    if faults or isinstance(sources, ListError) or isinstance(references, ListError):
        raise InputError(_message(f"{source} cannot be evaluated.", faults))
    return TestSet(source, target, tuple(sources), tuple(references), math.ceil(longest))


def check_lists(
    source: Path, target: Path | None, start_index: int = 0, end_index: int = -1
) -> None:
    """Checks the lists of a SimulEval run and its recordings from `start_index` to `end_index`.

    A path may hold spaces and a line may end as on Windows, as in SimulEval. The log warns of
    recordings that are shorter than their headers declare, and of blank references.

    Raises InputError for lists in another encoding than the locale's, lists of different lengths,
    indices beyond them, blank lines, and recordings that SimulEval cannot read as a whole.
    """
    encoding = locale.getpreferredencoding(False)  # as SimulEval does
    sources = _read(source, encoding)
    references: list[str] | ListError = []
    if target is None:
        faults = _faults_of_lists(source, sources)
        faults.append("`--target` must name the list of references, but is not given.")
    elif not target.is_file():
        faults = _faults_of_lists(source, sources)
        faults.append(f"{target} (`--target`) does not exist.")
    else:
        references = _read(target, encoding)
        faults = _faults_of_lists(source, sources, target, references)
    if isinstance(sources, list):
        if wrong_indices := _faults_of_indices(start_index, end_index, len(sources)):
            faults += wrong_indices
        else:
            indices = range(start_index, len(sources) if end_index < 0 else end_index)
            headers, faults_of_recordings = _headers(source, {i + 1: sources[i] for i in indices})
            faults += faults_of_recordings
            _warn_of_short_recordings(source, sources, headers)
            if target is not None and isinstance(references, list) and not faults:
                _warn_of_blank_references(target, [i + 1 for i in indices if not references[i]])
    if faults:
        raise InputError(
            _message(
                f"{source} cannot be evaluated. Nothing has been evaluated or overwritten. Correct "
                "the lists, or skip a recording with --start-index and --end-index.",
                faults,
            )
        )


def _read(path: Path, encoding: str = "utf-8", mark_allowed: bool = False) -> list[str] | ListError:
    try:
        return read_list(path, encoding, mark_allowed)
    except ListError as error:
        return error


def _read_without_blank_end(path: Path) -> list[str] | ListError:
    lines = _read(path, mark_allowed=True)
    if isinstance(lines, list):
        while lines and not lines[-1]:
            lines.pop()
    return lines


def _faults_of_lists(
    source: Path,
    sources: list[str] | ListError,
    target: Path | None = None,
    references: list[str] | ListError | None = None,
) -> list[str]:
    faults = []
    for path, lines in ((source, sources), (target, references)):
        if isinstance(lines, ListError):
            faults.append(str(lines))
        elif lines == []:
            faults.append(f"{path} is empty.")
    if isinstance(sources, list) and isinstance(references, list):
        numbers = len(sources), len(references)
        if 0 not in numbers and numbers[0] != numbers[1]:
            pairs = sorted([(numbers[0], source), (numbers[1], target)])
            longer = sources if numbers[0] > numbers[1] else references
            blank = "" if longer[-1] else ", whose last line is blank"
            faults.append(
                f"{source} has {numbers[0]} lines and {target} has {numbers[1]}: {pairs[0][1]} is "
                f"shorter by {pairs[1][0] - pairs[0][0]} than {pairs[1][1]}{blank}."
            )
    return faults


def _faults_of_indices(start: int, end: int, count: int) -> list[str]:
    faults = []
    if count and not 0 <= start < count:
        faults.append(f"`--start-index` must be from 0 to {count - 1}, but is {start} instead.")
    if end > count:
        faults.append(f"`--end-index` must be at most {count}, but is {end} instead.")
    elif 0 <= end <= start:
        faults.append(f"`--end-index` must be above `--start-index` {start}, but is {end} instead.")
    return faults


def _headers(source: Path, paths: Mapping[int, str]) -> tuple[dict[int, Header], list[str]]:
    """The readable headers of recordings by their lines, and the faults of the others."""
    faults = _blank_lines(source, paths, "the path of a recording")
    lines = [line for line in paths if line not in faults]
    headers = {}
    for line, header in zip(lines, read_headers([paths[line] for line in lines]), strict=True):
        if isinstance(header, AudioError):
            faults[line] = f"{source}, line {line}: {header}"
        else:
            headers[line] = header
    return headers, [faults[line] for line in sorted(faults)]


def _blank_lines(path: Path, lines: Mapping[int, str], content: str) -> dict[int, str]:
    return {
        number: f"{path}, line {number}: is blank; each line must be {content}."
        for number, line in lines.items()
        if not line
    }


def _warn_of_short_recordings(
    source: Path, sources: Sequence[str], headers: Mapping[int, Header]
) -> None:
    short = [line for line, header in headers.items() if header.fault]
    if short:
        logger.warning(
            "%s: %d recordings are shorter than in their headers and are evaluated as they are; "
            "the first is %s: %s.",
            *(source, len(short), sources[short[0] - 1], headers[short[0]].fault),
        )


def _warn_of_blank_references(target: Path, lines: Sequence[int]) -> None:
    if lines:
        logger.warning(
            "%s: %d references are blank, in lines %s: right for a sound without words, but each "
            "word written for it lowers BLEU. SimulEval takes a blank reference for one word, and "
            "divides by zero if --eval-latency-unit is char or spm.",
            *(target, len(lines), ", ".join(map(str, lines[:10])) + ", ..." * (len(lines) > 10)),
        )


def _message(head: str, faults: Sequence[str]) -> str:
    shown = list(faults[:_MOST_NAMED])
    if len(faults) > len(shown):
        shown.append(f"... and {len(faults) - len(shown)} more")
    start = f"Relative paths start at {Path.cwd()}."
    return "\n".join([f"{head} {start}", *(f"  {fault}" for fault in shown)])


def check_single_references(test_set: TestSet) -> None:
    """Raises InputError naming the lines that hold several references."""
    several = [str(n) for n, line in enumerate(test_set.references, start=1) if "\t" in line]
    if several:
        raise InputError(
            f"{test_set.target}: must have one reference per line, but line "
            f"{', '.join(several[:_MOST_NAMED])} holds a tab: SimulEval takes the line as one "
            "sentence. `echostream score` scores a log with several references."
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
