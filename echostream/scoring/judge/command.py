"""A command as a judge: paths of recordings on its standard input, transcripts on its output."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from echostream.scoring.judge.transcript import JudgeError, MiscountError, Transcript, is_loop

SECONDS = 120.0  # for each recording; those of an evaluation are a few seconds long
_SHOWN = 400  # characters of what a command has written about its error
_BLOCK = 1 << 16  # bytes read at a time
_GRACE = 5.0  # s that a command has between SIGTERM and SIGKILL


class CommandJudge:
    """Runs a command once for all recordings: a path a line in, a transcript a line out.

    `seconds`: for each recording. A command is ended, with all processes that it started, when it
    prints nothing for that time multiplied by the number of transcripts that are missing, and once
    more for its start and end.
    """

    has_word_times = False

    def __init__(self, command: str, seconds: float = SECONDS) -> None:
        """Raises JudgeError if the command is empty, its quotes are not closed, or there is no such
        program."""
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise JudgeError(f"command:{command}: cannot be read: {error}.") from error
        if not self._arguments:
            raise JudgeError("command: must be followed by a command, but is empty.")
        self.name = f"command {command}"
        if shutil.which(self._arguments[0]) is None:
            raise JudgeError(f"{self.name}: cannot be run: there is no such program.")
        self._seconds = seconds

    def transcribe(self, paths: Sequence[Path]) -> Iterator[Transcript]:
        """The transcripts as the command prints them.

        Raises JudgeError if it cannot be run, fails or takes too long; the transcripts until then
        have been given. Raises MiscountError if it does not print a line for each path: those that
        were given may be of others.
        """
        if not paths:
            return
        # Files, not pipes: a command may print before it has read, or read before it prints.
        with tempfile.TemporaryFile() as listed, tempfile.TemporaryFile() as errors:
            listed.write(b"".join(os.fsencode(path.resolve()) + b"\n" for path in paths))
            listed.seek(0)
            num = 0

            def patience() -> float:
                return self._seconds * (max(0, len(paths) - num) + 1)

            with _running(self._arguments, listed, errors, self.name) as process:
                assert process.stdout is not None
                try:
                    for line in _lines(process.stdout, patience):
                        num += 1
                        if num <= len(paths):
                            text = line.decode("utf-8", "replace").strip()
                            yield Transcript(text, None, is_loop(text))
                    status = process.wait(patience())
                except (TimeoutError, subprocess.TimeoutExpired):
                    raise JudgeError(
                        f"{self.name}: gave {num} of {len(paths)} transcripts and then nothing for "
                        f"{patience():g} s, so it was ended: a command has {self._seconds:g} s for "
                        "each recording that is missing, and once more."
                    ) from None
            errors.seek(0)
            printed = errors.read().decode("utf-8", "replace").strip()[-_SHOWN:]
        if status != 0:
            raise JudgeError(f"{self.name}: {_ending(status)}: {printed or 'it printed no reason'}")
        if num != len(paths):
            raise MiscountError(
                f"{self.name}: must print one line for each of {len(paths)} recordings, "
                f"but printed {num}. {printed}".rstrip()
            )


@contextmanager
def _running(
    arguments: Sequence[str], stdin: IO[bytes], stderr: IO[bytes], name: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own; what is left of it is ended if the block fails."""
    try:
        process = subprocess.Popen(
            arguments, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
        )
    except OSError as error:
        raise JudgeError(f"{name}: cannot be run: {error}") from error
    with process:
        try:
            yield process
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and those that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)


def _lines(pipe: IO[bytes], patience: Callable[[], float]) -> Iterator[bytes]:
    """The lines of a pipe. Raises TimeoutError if nothing comes for `patience()` seconds."""
    rest = b""
    while True:
        if not select.select([pipe], [], [], patience())[0]:
            raise TimeoutError
        block = os.read(pipe.fileno(), _BLOCK)
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if not block:
            break
    if rest:
        yield rest


def _ending(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"ended with {status}"
