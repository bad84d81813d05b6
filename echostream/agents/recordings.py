"""A look at the lists and the recordings before an evaluation begins.

SimulEval empties `instances.log` and then loads the audio of every utterance, before the first is
evaluated. One file that cannot be read ends the run there: nothing is evaluated, and the results of
an earlier run in the same folder are gone. Agents are built before that moment, so this is where
all faults can still be named at once and nothing is lost.
"""

from __future__ import annotations

import locale
import logging
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from echostream.frontend.audio import AudioError
from echostream.frontend.audio_header import read_headers
from echostream.frontend.recording_list import ListError, read_list

logger = logging.getLogger(__name__)


class RecordingError(ValueError):
    """Lists or recordings that SimulEval could not evaluate; the message names every fault."""


def check_recordings(args: Namespace) -> None:
    """Reads `args.source`, `args.target` and the headers of the recordings between `start_index`
    and `end_index`.

    Does nothing where SimulEval has no list (a standalone agent, another data loader). A path may
    hold spaces and a line may end as on Windows: SimulEval reads both.

    Raises `RecordingError` naming, in one message, every blank line, every recording that SimulEval
    cannot read as a whole (with its line and the reason), lists of another encoding, lists of
    different lengths and indices beyond them.
    """
    source = getattr(args, "source", None)
    other_loader = getattr(args, "dataloader", None) is not None
    if source is None or other_loader or not Path(source).is_file():
        return
    paths, target = _try_list(source), getattr(args, "target", None)
    faults = list(_faults_of_lists(source, paths, target))
    if isinstance(paths, list):
        start, end = getattr(args, "start_index", 0), getattr(args, "end_index", -1)
        if wrong_indices := list(_faults_of_indices(start, end, len(paths))):
            faults += wrong_indices
        else:
            wanted = range(start, len(paths) if end < 0 else end)
            faults += _faults_of_recordings(source, {i + 1: paths[i] for i in wanted})
    if faults:
        raise RecordingError(
            f"{source} cannot be evaluated. Nothing has been evaluated or overwritten. Mend the "
            "lists, or evaluate around a recording with --start-index and --end-index.\n"
            + "\n".join(f"  {fault}" for fault in faults)
        )


def _try_list(path: str | Path) -> list[str] | ListError:
    try:
        return read_list(path, locale.getpreferredencoding(False))  # as SimulEval does
    except ListError as error:
        return error


def _faults_of_lists(
    source: str, paths: list[str] | ListError, target: str | None
) -> Iterator[str]:
    if isinstance(paths, ListError):
        yield str(paths)
    elif not paths:
        yield f"{source} is empty."
    if target is None:
        yield "`--target` must name the list of references, but is not given."
    elif not Path(target).is_file():
        yield f"{target} (`--target`) does not exist."
    elif isinstance(references := _try_list(target), ListError):
        yield str(references)
    elif isinstance(paths, list) and len(paths) != len(references):
        is_source = len(paths) < len(references)
        longer = references if is_source else paths
        blank = ", whose last line is blank" if not longer[-1] else ""
        yield (
            f"{source} has {len(paths)} lines and {target} has {len(references)}: "
            f"{source if is_source else target} is shorter by {abs(len(paths) - len(references))} "
            f"than {target if is_source else source}{blank}."
        )


def _faults_of_indices(start: int, end: int, count: int) -> Iterator[str]:
    if count and not 0 <= start < count:
        yield f"`--start-index` must be from 0 to {count - 1}, but is {start} instead."
    if end > count:
        yield f"`--end-index` must be at most {count}, but is {end} instead."
    elif 0 <= end <= start:
        yield f"`--end-index` must be above `--start-index` {start}, but is {end} instead."


def _faults_of_recordings(source: str, paths: dict[int, str]) -> Iterator[str]:
    """`paths`: those of the recordings to be evaluated, by their lines."""
    headers = dict(zip(paths, read_headers(list(paths.values())), strict=True))
    shortened = []
    for line, path in paths.items():
        header = headers[line]
        if not path:
            yield f"{source}, line {line}: is blank; each line must be the path of a recording."
        elif isinstance(header, AudioError):
            yield f"{source}, line {line}: {header}"
        elif header.fault:
            shortened.append(f"{path}: {header.fault}")
    if shortened:
        logger.warning(
            "%s: %d recordings are shorter than their headers say and are evaluated as they are; "
            "the first is %s.",
            *(source, len(shortened), shortened[0]),
        )
