"""The seal of a graph: the SHA-256 of the graph and of its weights, in its metadata."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from pathlib import Path
from typing import NamedTuple

UNSEALED = "0" * 64  # placeholder for the SHA-256 of a graph while it is computed
_GRAPH = re.compile(rb'"graph_sha256": "([0-9a-f]{64})"')
_WEIGHTS = re.compile(rb'"weights_sha256": "([0-9a-f]{64})"')


class Seal(NamedTuple):
    """What the seal of a graph shows, read before the graph is parsed."""

    is_intact: bool
    weights_sha256: str


def sealed(content: bytes) -> bytes:
    """A serialised graph with `UNSEALED` in its metadata replaced by its SHA-256."""
    matches = list(_GRAPH.finditer(content))
    assert len(matches) == 1, "the metadata of a graph hold one SHA-256 of the graph"
    start, stop = matches[0].span(1)
    return content[:start] + _sha256(content, start, stop).encode() + content[stop:]


def read_seal(path: Path) -> Seal | None:
    """The seal of a graph; None if the file has none."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # an empty file cannot be mapped
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            graph = [match.span(1) for match in _GRAPH.finditer(content)]
            weights = [match[1].decode() for match in _WEIGHTS.finditer(content)]
            if len(graph) != 1 or len(weights) != 1:
                return None
            start, stop = graph[0]
            stored = content[start:stop].decode()
            return Seal(_sha256(content, start, stop) == stored, weights[0])


def _sha256(content: bytes | mmap.mmap, start: int, stop: int) -> str:
    """SHA-256 of a graph with the bytes from `start` to `stop` replaced by `UNSEALED`."""
    found = hashlib.sha256()
    with memoryview(content) as view, view[:start] as before, view[stop:] as after:
        found.update(before)
        found.update(UNSEALED.encode())
        found.update(after)
    return found.hexdigest()
