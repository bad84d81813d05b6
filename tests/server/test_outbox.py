"""A client that does not take its messages is dropped; one that does gets all of them in order."""

from __future__ import annotations

import asyncio

import pytest

from echostream.server.outbox import Outbox, SlowClientError


def test_messages_are_sent_in_order_until_the_end() -> None:
    sent: list[str] = []

    async def send(message: str) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    async def use() -> None:
        outbox = Outbox(send, limit=5, send_seconds=1)
        for message in "abcde":
            outbox.put(message)
        outbox.close()
        await outbox.run()

    asyncio.run(use())
    assert sent == list("abcde")


def test_more_messages_than_the_limit_are_a_slow_client() -> None:
    async def send(message: str) -> None:
        raise AssertionError(f"{message} must not be sent: one after it is lost")

    async def use() -> None:
        outbox = Outbox(send, limit=5, send_seconds=1)
        for message in "abcdef":
            outbox.put(message)
        await outbox.run()

    with pytest.raises(SlowClientError, match="more than 5 messages"):
        asyncio.run(use())


def test_more_bytes_than_the_limit_are_a_slow_client() -> None:
    taken: list[str] = []

    async def send(message: str) -> None:
        taken.append(message)

    async def use(outbox: Outbox, count: int) -> None:
        for _ in range(count):
            outbox.put("é" * 10)
        outbox.close()
        await outbox.run()

    outbox = Outbox(send, limit=500, send_seconds=1, max_bytes=100)
    for _ in range(3):  # what is sent no longer counts
        asyncio.run(use(outbox, 5))
    assert len(taken) == 15
    with pytest.raises(SlowClientError, match="or 100 bytes were waiting"):
        asyncio.run(use(outbox, 6))


def test_a_message_that_is_not_taken_in_time_is_a_slow_client() -> None:
    async def send(message: str) -> None:
        await asyncio.Event().wait()

    async def use() -> None:
        outbox = Outbox(send, limit=5, send_seconds=0.01)
        outbox.put("a")
        await outbox.run()

    with pytest.raises(SlowClientError, match="was not taken"):
        asyncio.run(use())
