"""A file that comes through a pipe."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def piped(path: Path) -> Iterator[int]:
    """The descriptor of a pipe from which the bytes of the file can be read."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as end:
            end.write(path.read_bytes())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reading
    finally:
        writer.join()
