"""Files that are never half there, and folders locked for one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

LOCK = "lock"


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
