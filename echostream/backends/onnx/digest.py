"""Fingerprints: of the weights that a graph was exported with, and of the graph itself."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from pathlib import Path
from typing import NamedTuple

UNSEALED = "0" * 64  # what stands for the fingerprint of a graph while it is made
_GRAPH = re.compile(rb'"graph_sha256": "([0-9a-f]{64})"')
_WEIGHTS = re.compile(rb'"weights_sha256": "([0-9a-f]{64})"')


class Seal(NamedTuple):
    """What a graph tells of itself before anything of it is interpreted."""

    is_intact: bool
    weights_sha256: str


def sealed(content: bytes) -> bytes:
    """A serialised graph with its SHA-256 in its metadata, in its place for that."""
    places = list(_GRAPH.finditer(content))
    assert len(places) == 1, "the metadata of a graph hold one place for a seal"
    start, stop = places[0].span(1)
    return content[:start] + _fingerprint(content, start, stop).encode() + content[stop:]


def read_seal(path: Path) -> Seal | None:
    """The seal of a graph; None if the file has none, whatever it is."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # which cannot be mapped
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            graph = [match.span(1) for match in _GRAPH.finditer(content)]
            weights = [match[1].decode() for match in _WEIGHTS.finditer(content)]
            if len(graph) != 1 or len(weights) != 1:
                return None
            start, stop = graph[0]
            said = content[start:stop].decode()
            return Seal(_fingerprint(content, start, stop) == said, weights[0])


def _fingerprint(content: bytes | mmap.mmap, start: int, stop: int) -> str:
    """SHA-256 of a graph, as if `UNSEALED` stood from `start` to `stop`."""
    found = hashlib.sha256()
    with memoryview(content) as view, view[:start] as before, view[stop:] as after:
        found.update(before)
        found.update(UNSEALED.encode())
        found.update(after)
    return found.hexdigest()
