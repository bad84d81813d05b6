"""How a command says what went wrong."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any


def complain(args: argparse.Namespace, message: str) -> None:
    """One line on standard error, with the name of the command."""
    print(f"echostream {args.command}: {message}", file=sys.stderr)


@contextlib.contextmanager
def naming(item: str) -> Iterator[None]:
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
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            broken.append(name)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    return broken
