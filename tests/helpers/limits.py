"""A disk or a memory that is full: this process can have no more than so many bytes of it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """Context in which no file can grow beyond a size."""
    with _limit(resource.RLIMIT_FSIZE, num_bytes):
        yield


@contextmanager
def little_memory(num_bytes: int) -> Iterator[None]:
    """Context in which so many bytes are left to allocate."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    with _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + num_bytes):
        yield


@contextmanager
def _limit(what: int, most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))
