"""A look at the lists and the recordings before an evaluation begins.

SimulEval empties `instances.log` and then loads the audio of every utterance, before the first is
evaluated. One file that cannot be read ends the run there: nothing is evaluated, and the results of
an earlier run in the same folder are gone. Agents are built before that moment, so this is where
all faults can still be named at once and nothing is lost.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import soundfile

BYTE_ORDER_MARK = "\ufeff"


class RecordingError(ValueError):
    """Lists or recordings that SimulEval could not evaluate; the message names every fault."""


def check_recordings(args: Namespace) -> None:
    """Reads `args.source`, `args.target` and the recordings between `start_index` and `end_index`.

    Does nothing where SimulEval has no list (a standalone agent, another data loader). A path may
    hold spaces and a line may end as on Windows: SimulEval reads both.

    Raises `RecordingError` naming, in one message, every blank line, every recording that cannot be
    read (with its line and the reason), lists of different lengths and indices beyond them.
    """
    source = getattr(args, "source", None)
    other_loader = getattr(args, "dataloader", None) is not None
    if source is None or other_loader or not Path(source).is_file():
        return
    paths = _read_list(source)
    faults = list(_faults_of_lists(source, len(paths), getattr(args, "target", None)))
    start, end = getattr(args, "start_index", 0), getattr(args, "end_index", -1)
    if wrong_indices := list(_faults_of_indices(start, end, len(paths))):
        faults += wrong_indices
    else:
        wanted = range(start, len(paths) if end < 0 else end)
        faults += _faults_of_recordings(source, [(i + 1, paths[i]) for i in wanted])
    if faults:
        raise RecordingError(
            f"{source} cannot be evaluated. Nothing has been evaluated or overwritten. Mend the "
            "lists, or evaluate around a recording with --start-index and --end-index.\n"
            + "\n".join(f"  {fault}" for fault in faults)
        )


def _read_list(path: str | Path) -> list[str]:
    with open(path) as file:  # as SimulEval does
        return [line.strip() for line in file]


def _faults_of_lists(source: str, num_sources: int, target: str | None) -> Iterator[str]:
    if num_sources == 0:
        yield f"{source} is empty."
    if target is None:
        yield "`--target` must name the list of references, but is not given."
    elif not Path(target).is_file():
        yield f"{target} (`--target`) does not exist."
    else:
        num_targets = len(_read_list(target))
        if num_sources != num_targets:
            shorter = source if num_sources < num_targets else target
            yield (
                f"{source} has {num_sources} lines and {target} has {num_targets}: {shorter} is "
                f"shorter by {abs(num_sources - num_targets)}."
            )


def _faults_of_indices(start: int, end: int, count: int) -> Iterator[str]:
    if count and not 0 <= start < count:
        yield f"`--start-index` must be from 0 to {count - 1}, but is {start} instead."
    if end > count:
        yield f"`--end-index` must be at most {count}, but is {end} instead."
    elif 0 <= end <= start:
        yield f"`--end-index` must be above `--start-index` {start}, but is {end} instead."


def _faults_of_recordings(source: str, lines: list[tuple[int, str]]) -> Iterator[str]:
    for number, path in lines:
        reason = _why_unreadable(path)
        if reason:
            yield f"{source}, line {number}: {reason}"


def _why_unreadable(path: str) -> str | None:
    if not path:
        return "is blank; each line must be the path of a recording."
    if path.startswith(BYTE_ORDER_MARK):
        return "begins with a byte order mark; save the list as UTF-8 without it."
    try:
        # All of it: the header of a FLAC file that was cut short is as good as any.
        soundfile.read(path, dtype="float32")
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        return f"{path}: {str(error) or type(error).__name__}"
    return None
