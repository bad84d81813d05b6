"""Atomic writes, digests, and folders locked for one process."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

LOCK = "lock"
_BLOCK = 1 << 20  # bytes read at a time


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to `path` when the block ends without an error.

    It has the suffix of `path`, because some libraries choose the format by it. An `OSError` about
    the temporary file, or one without a file name (a full disk), is raised as one about `path`.
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


def make_folder(path: str | os.PathLike[str]) -> Path:
    """The folder at a path, made with those above it if need be.

    Raises `NotADirectoryError` if it is a file, and OSError if it cannot be made or written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        code = errno.ENOTDIR
        raise NotADirectoryError(code, os.strerror(code), str(folder)) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    return folder


def safe_name(name: str) -> str:
    """A name as far as a file may have it; with a digest where it may not."""
    safe = re.sub(r"[^\w.-]", "_", name)
    if safe == name and len(safe.encode()) <= 200:
        return safe
    return f"{safe[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def check_outputs(outputs: Mapping[str, Path]) -> None:
    """Refuses files that would replace each other, or the files that they are made from.

    outputs: by the path of the file that each is made from.

    Raises ValueError naming both files.
    """
    made_from: dict[Path, str] = {}
    for source, path in outputs.items():
        other = made_from.setdefault(path, source)
        if other != source:
            raise ValueError(f"{other} and {source} would both become {path}: rename one of them.")
    for path in made_from:
        for source in outputs:
            with suppress(OSError):
                if path.samefile(source):
                    raise ValueError(
                        f"{path} would replace the file {source} itself: choose another folder."
                    )


def describe(error: OSError) -> str:
    """The file of an error and the reason; for a relative path, the folder where it starts."""
    if error.filename is None or error.strerror is None or error.filename2 is not None:
        return str(error)
    path = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    text = f"{path}: {error.strerror}"
    if isinstance(error, FileNotFoundError) and not os.path.isabs(path):
        with suppress(OSError):  # the working directory may be removed
            text += f" (relative paths start at {os.getcwd()})"
    return text


def remove_unfinished(folder: Path) -> None:
    """Removes the temporary files of killed processes; no other process may write there."""
    for temporary in folder.glob(".tmp-*"):
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, keep_in_forks: bool = True) -> Iterator[int]:
    """Locks a folder, created if need be; yields the descriptor that holds the lock.

    The lock is released when the process ends, however it ends. A forked child inherits the
    descriptor and holds the lock until it ends, too; `keep_in_forks=False` closes it in children.

    Raises BlockingIOError when the folder is locked already, naming the process if it is known.
    """
    import fcntl  # POSIX only, and only needed here

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
            process = f" (process {holder})" if holder.isdecimal() else ""
            raise BlockingIOError(
                f"another process is still at work in {folder}{process}"
            ) from None
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
    """Whether `descriptor` locks this folder, and not a removed one that had the same path."""
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


def missing_file(folder: Path, *names: str) -> str | None:
    """The first of the names that is no file in the folder; None if all are."""
    return next((name for name in names if not (folder / name).is_file()), None)
