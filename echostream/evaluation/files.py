"""Digests that tell of a change."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest(path: Path, pattern: str = "*", but: tuple[str, ...] = ()) -> str:
    """Of a file its content; of a folder the names and contents of its files."""
    sha = hashlib.sha256()
    files = (
        [path] if path.is_file() else sorted(file for file in path.rglob(pattern) if file.is_file())
    )
    for file in files:
        name = file.relative_to(path)
        if name.parts[:1] in [(folder,) for folder in but]:
            continue
        sha.update(f"{name} {file.stat().st_size}\n".encode())
        with open(file, "rb") as content:
            while block := content.read(1 << 20):
                sha.update(block)
    return sha.hexdigest()


def digest_of_stats(paths: tuple[Path, ...]) -> str:
    """Of the sizes and times of change of files: enough to notice a new one, and quick."""
    sha = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        sha.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return sha.hexdigest()
