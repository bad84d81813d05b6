"""How a command says what went wrong."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO


def print_error(args: argparse.Namespace, message: str) -> None:
    """One line on standard error, with the name of the command."""
    print(f"echostream {args.command}: {message}", file=sys.stderr)


@contextlib.contextmanager
def prefix_log(item: str) -> Iterator[None]:
    """What is logged in here begins with the item that it is about."""
    make = logging.getLogRecordFactory()

    def make_named(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        name = item.replace("%", "%%") if record.args else item
        record.msg = f"{name}: {record.msg}"
        return record

    logging.setLogRecordFactory(make_named)
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)


def silence_broken_outputs() -> list[str]:
    """The names of the standard streams that take no more; what is left for them is dropped.

    Python would otherwise complain about them when it ends.
    """
    broken = []
    for name, stream in (("standard output", sys.stdout), ("standard error", sys.stderr)):
        if stream is not None and _is_broken(stream):
            broken.append(name)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
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
    # An unbuffered stream keeps nothing that could fail a second time.
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
