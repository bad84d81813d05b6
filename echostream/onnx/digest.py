"""Fingerprints: of the weights that a graph was exported with, and of the graph itself."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

_BLOCK = 2**20
UNSEALED = "0" * 64  # what stands for the fingerprint of a graph while it is made
_GRAPH = re.compile(rb'"graph_sha256": "([0-9a-f]{64})"')
_WEIGHTS = re.compile(rb'"weights_sha256": "([0-9a-f]{64})"')


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


class Seal(NamedTuple):
    """What a graph tells of itself before anything of it is interpreted."""

    is_intact: bool
    weights_sha256: str


def sealed(content: bytes) -> bytes:
    """A serialised graph with its SHA-256 in its metadata, in its place for that."""
    assert len(_GRAPH.findall(content)) == 1, "the metadata of a graph hold one place for a seal"
    return _with_seal(content, _fingerprint(content))


def read_seal(path: Path) -> Seal | None:
    """The seal of a graph; None if the file has none, whatever it is."""
    content = path.read_bytes()
    graph, weights = _GRAPH.findall(content), _WEIGHTS.findall(content)
    if len(graph) != 1 or len(weights) != 1:
        return None
    return Seal(_fingerprint(content) == graph[0].decode(), weights[0].decode())


def _fingerprint(content: bytes) -> str:
    return hashlib.sha256(_with_seal(content, UNSEALED)).hexdigest()


def _with_seal(content: bytes, seal: str) -> bytes:
    return _GRAPH.sub(b'"graph_sha256": "' + seal.encode() + b'"', content)
