"""A command as a judge: paths of recordings on its standard input, transcripts on its output."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from echostream.scoring.judge.transcript import JudgeError, Transcript, is_loop

_SHOWN = 400  # characters of what a command has written about its error


class CommandJudge:
    """Runs a command once for all recordings: a path a line in, a transcript a line out."""

    has_word_times = False

    def __init__(self, command: str) -> None:
        """Raises JudgeError if the command is empty or its quotes are not closed."""
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise JudgeError(f"command:{command}: cannot be read: {error}.") from error
        if not self._arguments:
            raise JudgeError("command: must be followed by a command, but is empty.")
        self.name = f"command {command}"

    def transcribe(self, paths: Sequence[Path]) -> Iterator[Transcript]:
        """The transcripts as the command prints them.

        Raises JudgeError if it cannot be run, fails, or does not print a line for each path; the
        transcripts until then have been given.
        """
        if not paths:
            return
        # Files, not pipes: a command may print before it has read, or read before it prints.
        with tempfile.TemporaryFile() as listed, tempfile.TemporaryFile() as errors:
            listed.write(b"".join(os.fsencode(path.resolve()) + b"\n" for path in paths))
            listed.seek(0)
            num = 0
            try:
                process = subprocess.Popen(
                    self._arguments, stdin=listed, stdout=subprocess.PIPE, stderr=errors
                )
            except OSError as error:
                raise JudgeError(f"{self.name}: cannot be run: {error}") from error
            with process:
                assert process.stdout is not None
                try:
                    for line in process.stdout:
                        num += 1
                        if num <= len(paths):
                            text = line.decode("utf-8", "replace").strip()
                            yield Transcript(text, None, is_loop(text))
                finally:
                    if process.poll() is None and num < len(paths):
                        process.terminate()  # nobody reads what it would print
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip()[-_SHOWN:]
        if process.returncode != 0:
            raise JudgeError(f"{self.name}: ended with {process.returncode}: {said}")
        if num != len(paths):
            raise JudgeError(
                f"{self.name}: must print one line for each of {len(paths)} recordings, "
                f"but printed {num}. {said}".rstrip()
            )
