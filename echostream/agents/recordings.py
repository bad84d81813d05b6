"""A look at the recordings before an evaluation begins.

SimulEval 1.1.4 empties `instances.log` and then loads the audio of every utterance, before the
first is evaluated. One file that cannot be read ends the run there: nothing is evaluated, and the
results of an earlier run in the same folder are gone. Agents are built before that moment, so this
is where all such files can still be named at once and nothing is lost.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import soundfile


class RecordingError(ValueError):
    """Recordings that SimulEval could not read; the message names each."""


def check_recordings(args: Namespace) -> None:
    """Reads the files listed in `args.source` (from `start_index` to `end_index`) like SimulEval.

    Does nothing where SimulEval has no list (a standalone agent, another data loader).
    Raises `RecordingError` naming every file that cannot be read, with its line and the reason.
    """
    source = getattr(args, "source", None)
    other_loader = getattr(args, "dataloader", None) is not None
    if source is None or other_loader or not Path(source).is_file():
        return
    with open(source) as file:
        paths = [line.strip() for line in file]
    start, end = getattr(args, "start_index", 0), getattr(args, "end_index", -1)
    stop = len(paths) if end < 0 else end
    reasons = []
    for number, path in list(enumerate(paths, start=1))[start:stop]:
        reason = _why_unreadable(path)
        if reason:
            reasons.append(f"  line {number}: {path}: {reason}")
    if reasons:
        raise RecordingError(
            f"{len(reasons)} of the {len(paths)} recordings in {source} cannot be read; "
            "take them (and their references) out, or evaluate around them with --start-index and "
            "--end-index. Nothing has been evaluated or overwritten.\n" + "\n".join(reasons)
        )


def _why_unreadable(path: str) -> str | None:
    try:
        # All of it: the header of a FLAC file that was cut short is as good as any.
        soundfile.read(path, dtype="float32")
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        return str(error) or type(error).__name__
    return None
