"""What waits to be sent to one client: bounded, so that a client that does not read is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class SlowClientError(RuntimeError):
    """A client that does not take its messages."""


class Outbox:
    """Messages in order, sent by `run`.

    Args:
        send: sends one message.
        limit: the most messages that may wait.
        max_bytes: the most that all of them together may have.
        send_seconds: how long the client may take for one.
    """

    def __init__(
        self,
        send: Callable[[str], Awaitable[None]],
        limit: int,
        send_seconds: float,
        max_bytes: int = 1 << 24,
    ) -> None:
        self._send = send
        self._limit = limit
        self._max_bytes = max_bytes
        self._bytes = 0  # of those that wait
        self._send_seconds = send_seconds
        self._messages: asyncio.Queue[str | None] = asyncio.Queue()
        self._full = False

    def put(self, message: str) -> None:
        """Adds a message; beyond the limit the messages are lost and `run` raises."""
        size = len(message.encode())
        if self._messages.qsize() >= self._limit or self._bytes + size > self._max_bytes:
            self._full = True
        else:
            self._bytes += size
            self._messages.put_nowait(message)

    def close(self) -> None:
        """Lets `run` return after the messages that are there."""
        self._messages.put_nowait(None)

    async def run(self) -> None:
        """Sends until `close`.

        Raises:
            SlowClientError: if too many messages wait, or one takes too long.
        """
        while (message := await self._messages.get()) is not None:
            if self._full:
                raise SlowClientError(
                    f"more than {self._limit} messages or {self._max_bytes} bytes were waiting."
                )
            self._bytes -= len(message.encode())
            try:
                await asyncio.wait_for(self._send(message), self._send_seconds)
            except asyncio.TimeoutError as error:
                raise SlowClientError(
                    f"a message was not taken within {self._send_seconds:g} s."
                ) from error
