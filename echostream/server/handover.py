"""Where sessions that move to another server are kept between the two."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from pathlib import Path
from typing import Protocol

from echostream.files import make_folder, write_whole

KEEP_SECONDS = 300.0  # a client that has not come back by then has lost its session
_NAME = re.compile(r"sess_[A-Za-z0-9_-]{16,64}")


class Store(Protocol):
    """Where sessions wait for their clients. Each can be taken once."""

    async def put(self, name: str, data: bytes) -> None:
        """Keeps a session. Raises OSError."""

    async def take(self, name: str) -> bytes | None:
        """Removes a session and returns it; None if it is not there."""


class FolderStore:
    """Sessions as files of a folder, which both servers can read.

    Raises:
        OSError: naming the folder if it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = make_folder(folder)

    async def put(self, name: str, data: bytes) -> None:
        """See `Store.put`; sessions that nobody came for are deleted."""
        await asyncio.to_thread(self._put, name, data)

    async def take(self, name: str) -> bytes | None:
        """See `Store.take`."""
        if not _NAME.fullmatch(name):  # a client gives it
            return None
        return await asyncio.to_thread(self._take, name)

    def _put(self, name: str, data: bytes) -> None:
        for path in self._folder.iterdir():  # those of servers that were killed included
            with contextlib.suppress(OSError):  # another server may be at it
                if path.name.startswith(("sess_", ".tmp-")) and _age(path) > KEEP_SECONDS:
                    path.unlink()
        write_whole(self._folder / f"{name}.session", data)

    def _take(self, name: str) -> bytes | None:
        mine = self._folder / f"{name}.{os.getpid()}.taken"
        try:
            (self._folder / f"{name}.session").rename(mine)  # only one server succeeds
        except FileNotFoundError:
            return None
        data = mine.read_bytes() if _age(mine) <= KEEP_SECONDS else None
        mine.unlink()
        return data


def _age(path: Path) -> float:
    """Seconds since a file was written."""
    return time.time() - path.stat().st_mtime
