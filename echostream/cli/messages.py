"""Error messages of the commands, and broken output streams."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


class OutputError(Exception):
    """Standard output cannot be written. No OSError: those are about the files of a command."""


class _Output:
    """A text stream whose errors are raised as `OutputError`; all else is that of the stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with _naming_output():
            return self._stream.write(text)

    def flush(self) -> None:
        with _naming_output():
            self._stream.flush()


@contextlib.contextmanager
def _naming_output() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error}") from error


@contextlib.contextmanager
def checked_output() -> Iterator[None]:
    """Raises `OutputError` for what cannot be written to standard output in this block.

    It is flushed at the end. Python's own error would not name the stream, and without a buffer
    (PYTHONUNBUFFERED) nothing tells it from the error of another file afterwards.
    """
    stream = sys.stdout
    if stream is None:
        yield
        return
    sys.stdout = cast("TextIO", output := _Output(stream))
    try:
        yield
    finally:
        sys.stdout = stream
        output.flush()


def print_error(args: argparse.Namespace, message: str) -> None:
    """Prints a line on standard error, after the name of the command."""
    command = f"echostream {args.command}".rstrip()  # none is known for `echostream --help`
    print(f"{command}: {message}", file=sys.stderr)


def silence_broken_outputs() -> bool:
    """Redirects broken standard streams to the null device; returns whether there are any.

    Otherwise Python would print an error about them when it ends.
    """
    broken = False
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and _is_broken(stream):
            broken = True
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
    return broken


def _is_broken(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return True
    try:
        descriptor = stream.fileno()
    except OSError:  # not a file: a notebook, a test
        return False
    # For an unbuffered stream a flush does nothing, so the descriptor is polled.
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
