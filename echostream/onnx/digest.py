"""The fingerprint by which a graph knows the weights that it was exported with."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK = 2**20


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
