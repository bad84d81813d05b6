"""Reports of an agent: a line of each utterance in files, and texts on standard output."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from echostream.files import write_whole
from echostream.scoring.log import INSTANCES_LOG, parse_index
from echostream.scoring.metrics.backlog import Backlog

logger = logging.getLogger(__name__)

ASR_FILE, ST_FILE, UNIT_FILE = "asr.txt", "st.txt", "unit.txt"
BACKLOG_FILE = "backlog.txt"  # the longest one and that at the end, in ms


def finished_utterances(args: Namespace) -> int | None:
    """The number of utterances that a run with `--continue-unfinished` does not evaluate again.

    None for a new run. Raises `ValueError` naming the log and its line if SimulEval could not
    continue after it.
    """
    output = getattr(args, "output", None)
    if output is None or not getattr(args, "continue_unfinished", False):
        return None
    path = Path(output) / INSTANCES_LOG
    if not path.is_file():
        return None
    first = last = b""
    number = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):  # noqa: B007
            first, last = first or line, line
    if not last:
        return 0
    try:
        return parse_index(last) + 1 - parse_index(first)
    except ValueError as error:
        raise ValueError(
            f"{path}: `--continue-unfinished` cannot continue after its last line, {number} "
            f"({error}). Remove the damaged lines; the evaluated ones before them stay."
        ) from error


class Transcripts:
    """A line per utterance in files, and lines on standard output at each new word.

    Args:
        folder: of the files (`--extra-output-dir`), created if need be; None for no files.
        show: whether to print (`--output-asr-translation`).
        task: "st" also has a file and lines for the translation.
        finished: number of utterances that a continued run does not evaluate again; the files keep
            a line for each. Lines of later utterances are removed, because they are evaluated
            again. None: the lines of this run are appended to those in the files.
        speaks: whether there are also files for the units of the speech and for its backlog.

    Raises `ValueError` naming the folder if it cannot be used.
    """

    def __init__(
        self,
        folder: str | Path | None,
        show: bool,
        task: str,
        finished: int | None = None,
        speaks: bool = False,
    ) -> None:
        # Absolute, because SimulEval may change the working directory after construction.
        self.folder = None if folder is None else Path(folder).resolve()
        self.shows = show
        translates = task == "st"
        self._translates, self._speaks = translates, speaks
        spoken = [UNIT_FILE, BACKLOG_FILE] if speaks else []
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                for name in (ASR_FILE, *([ST_FILE] if translates else []), *spoken):
                    _begin(self.folder / name, finished)
            except OSError as error:
                raise ValueError(
                    f"`extra_output_dir` must be a folder that can be written: {error}."
                ) from error

    @property
    def needed(self) -> bool:
        """Whether source words are needed."""
        return self.shows or self.folder is not None

    def show(self, source: str | None, target: str | None) -> None:
        """Prints the texts of an utterance so far; None for a text without a new word."""
        if self.shows and source is not None:
            print("Streaming ASR:", source, flush=True)
        if self.shows and self._translates and target is not None:
            print("Simultaneous translation:", target, flush=True)

    def append(
        self,
        source: str,
        target: str,
        units: Sequence[int] = (),
        waiting: Backlog | None = None,
    ) -> None:
        """Appends the line of a finished utterance to each file; a blank one for no text."""
        if self.folder is None:
            return
        lines = {ASR_FILE: source}
        if self._translates:
            lines[ST_FILE] = target
        if self._speaks:
            lines[UNIT_FILE] = " ".join(map(str, units))
            known = () if waiting is None else waiting
            lines[BACKLOG_FILE] = " ".join(f"{value:.1f}" for value in known)
        try:
            for name, text in lines.items():
                with open(self.folder / name, "a", encoding="utf-8") as file:
                    file.write(text + "\n")
        except OSError as error:
            # The evaluation is worth more than the transcripts.
            logger.error(
                "%s: cannot be written: %s. The run continues without transcripts.",
                *(self.folder, error.strerror or error),
            )
            self.folder = None


def _begin(path: Path, finished: int | None) -> None:
    """Prepares a file for the lines of a run."""
    found = path.read_bytes().split(b"\n") if path.exists() else [b""]
    lines, rest = found[:-1], found[-1]
    if finished is None:
        if lines or rest:
            logger.warning(
                "%s holds %d lines of an earlier run; those of this run are appended.",
                *(path, len(lines) + bool(rest)),
            )
        return
    missing = max(0, finished - len(lines))
    if missing:
        logger.warning(
            "%s: has no line for %d utterances that were evaluated before; blank lines are added.",
            *(path, missing),
        )
    write_whole(path, b"".join(line + b"\n" for line in [*lines[:finished], *[b""] * missing]))
