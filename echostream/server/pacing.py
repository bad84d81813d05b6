"""When a client sends its next piece: at real time, and while few are on their way."""

from __future__ import annotations

import asyncio
import contextlib

PING_PIECES = 10  # pieces between two pings; their answers tell what has been received
MAX_IN_FLIGHT = 50  # pieces


class Flight:
    """The pieces of one connection that the server has not carried out yet.

    The server answers a ping after all messages before it.
    """

    def __init__(self) -> None:
        self.sent = 0
        self._arrived = 0
        self._progress = asyncio.Event()

    async def wait(self) -> None:
        """Returns when another piece may be sent."""
        while self.sent - self._arrived >= MAX_IN_FLIGHT:
            self._progress.clear()
            await self._progress.wait()

    def depart(self) -> bool:
        """Counts a piece; whether a ping should follow it."""
        self.sent += 1
        return self.sent % PING_PIECES == 0

    def arrive(self, sent: int) -> None:
        """The answer to a ping after so many pieces."""
        self._arrived = sent
        self._progress.set()


class Clock:
    """Real time of a source, from its first sample on; without `real_time` nothing waits."""

    def __init__(self, real_time: bool, sample_rate: int) -> None:
        self._real_time, self._sample_rate = real_time, sample_rate
        self._begin: float | None = None

    async def wait(self, samples: int, ended: asyncio.Event) -> None:
        """Returns when so many samples have been recorded, or the source has ended."""
        now = asyncio.get_running_loop().time()
        if self._begin is None:
            self._begin = now
        left = self._begin + samples / self._sample_rate - now
        if self._real_time and left > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ended.wait(), left)
