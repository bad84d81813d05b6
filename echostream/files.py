"""Files that are written whole or not at all, their digests, and folders locked for one process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

LOCK = "lock"
_BLOCK = 1 << 20  # bytes read at a time


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place when the block ends without an error.

    It has the suffix of `path`, by which some libraries know the format. An `OSError` about it, or
    about no file (a full disk names none), comes out as one about `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise
        if error.errno is None:
            raise OSError(f"{path}: {error}") from error
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file under a temporary name and renames it; text is UTF-8."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes were writing with `replacing`; nobody else may write there."""
    for temporary in folder.glob(".tmp-*"):
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, keep_in_forks: bool = True) -> Iterator[int]:
    """Locks a folder, made if need be; gives the descriptor that holds the lock.

    The lock ends with the process, however it ends. A child that inherits the descriptor keeps the
    folder locked until it ends, too; `keep_in_forks=False` closes it in processes that are forked.

    Raises BlockingIOError when the folder is locked already, naming the process if it is known.
    """
    import fcntl  # not on every system, and only this needs it

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    held = [descriptor]
    if not keep_in_forks:
        os.register_at_fork(after_in_child=partial(_close_all, held))
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            who = f" (process {holder})" if holder.isdecimal() else ""
            raise BlockingIOError(f"another process is still at work in {folder}{who}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        held.clear()
        os.close(descriptor)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def holds_lock(folder: Path, descriptor: int) -> bool:
    """Whether `descriptor` is the lock of this very folder, and not of one removed since."""
    try:
        return os.path.samestat((folder / LOCK).stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    sha = hashlib.sha256()
    for block in _blocks(path):
        sha.update(block)
    return sha.hexdigest()


def digest(path: Path, pattern: str = "*", but: tuple[str, ...] = ()) -> str:
    """A digest of the content of a file, or of the names and contents of the files in a folder.

    pattern: of the names that count. but: folders directly in `path` that do not count.
    """
    sha = hashlib.sha256()
    files = (
        [path] if path.is_file() else sorted(file for file in path.rglob(pattern) if file.is_file())
    )
    for file in files:
        name = file.relative_to(path)
        if name.parts[:1] in [(folder,) for folder in but]:
            continue
        sha.update(f"{name} {file.stat().st_size}\n".encode())
        for block in _blocks(file):
            sha.update(block)
    return sha.hexdigest()


def digest_of_stats(paths: tuple[Path, ...]) -> str:
    """A digest of sizes and modification times of files: quick, and enough to notice a change."""
    sha = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        sha.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return sha.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            yield block
