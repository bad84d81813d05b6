"""A server on the event loop of the test, whose service can be looked at and interfered with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
import websockets
from live_server import append

from echostream.model_folder import Model
from echostream.server.client import PATH
from echostream.server.run import uvicorn_config
from echostream.server.service import Service
from echostream.server.settings import ServerSettings
from echostream.session_config import SessionConfig


class MemoryStore:
    """A `Store` that takes its time, and that may fail."""

    def __init__(self, delay: float = 0.0, error: Exception | None = None) -> None:
        self.kept: dict[str, bytes] = {}
        self.delay, self.error = delay, error

    async def put(self, name: str, data: bytes) -> None:
        await asyncio.sleep(self.delay)
        if self.error is not None:
            raise self.error
        self.kept[name] = data

    async def take(self, name: str) -> bytes | None:
        await asyncio.sleep(self.delay)
        return self.kept.pop(name, None)


@asynccontextmanager
async def serving(
    model: Model, store: MemoryStore | None = None, step_seconds: float = 0.0, **settings: Any
) -> AsyncIterator[tuple[Service, str]]:
    """A service and its address; each step of the network takes `step_seconds` longer."""
    given = ServerSettings(**{"port": 0, "capacity": 4, "drain_seconds": 2, **settings})
    service = Service(model, "fr-en-tiny", SessionConfig(), given, ("fr", "en"), "", store)
    if step_seconds:
        step = service.engine._step

        def slow(batch: Any) -> None:
            time.sleep(step_seconds)
            step(batch)

        service.engine._step = slow  # type: ignore[method-assign]
    server = uvicorn.Server(uvicorn_config(service))
    running = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield service, f"ws://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


class Connection:
    """One connection to the server, and what came back over it."""

    def __init__(self, link: Any, first: dict[str, Any]) -> None:
        self.link, self.first = link, first
        self.text = ""
        self.kinds: list[str] = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self.link.send(json.dumps({"type": kind, **fields}))

    async def audio(self, data: bytes) -> None:
        await self.send("session.input_audio_buffer.append", audio=append(data))

    async def rest(self, seconds: float = 20) -> list[str]:
        """The kinds of all events until the connection is closed; of errors the codes."""

        async def read() -> None:
            async for message in self.link:
                event = json.loads(message)
                if event["type"] == "session.output_transcript.delta":
                    self.text += event["delta"]
                else:
                    is_error = event["type"] == "error"
                    self.kinds.append(event["error"]["code"] if is_error else event["type"])

        with contextlib.suppress(websockets.ConnectionClosedError):  # 1012 of one that moves
            await asyncio.wait_for(read(), seconds)
        return self.kinds


@asynccontextmanager
async def connected(url: str, query: str = "", **options: Any) -> AsyncIterator[Connection]:
    """A connection with these options of `session.echostream`."""
    async with websockets.connect(f"{url}{PATH}{query}", max_queue=None) as link:
        made = Connection(link, json.loads(await link.recv()))
        if options:
            await made.send("session.update", session={"echostream": options})
            assert json.loads(await link.recv())["type"] == "session.updated"
        yield made
