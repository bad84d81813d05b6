"""Runs a server until SIGTERM or SIGINT; running sessions may then finish within a bound."""

from __future__ import annotations

import asyncio
import signal
import socket
from types import FrameType

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from echostream.server.app import make_app
from echostream.server.examples import Example
from echostream.server.log import log, log_as_json
from echostream.server.service import Service


class DrainingServer(uvicorn.Server):
    """uvicorn, but a signal first stops the admission and waits for the running sessions.

    A second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts as uvicorn does, and prints where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            host = self.config.host
            shown = f"[{host}]" if ":" in host else host
            log("serving", url=f"http://{shown}:{port}/", model=self._service.name)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The handler of both signals."""
        if self._service.draining or self._loop is None:
            self.should_exit = True
            super().handle_exit(sig, frame)
            return
        self._service.draining = True
        self._loop.call_soon_threadsafe(self._start_drain, signal.Signals(sig).name)

    def _start_drain(self, name: str) -> None:
        self._drain = asyncio.ensure_future(self._wait_for_sessions(name))

    async def _wait_for_sessions(self, name: str) -> None:
        seconds = self._service.settings.drain_seconds
        log("draining", signal=name, sessions=len(self._service.rooms), seconds=seconds)
        await self._service.drain(seconds)
        log("stopped")
        self.should_exit = True


def run_server(service: Service, examples: tuple[Example, ...] = ()) -> int:
    """Serves until a signal; 0 if it stopped as it should, 1 if it could not start."""
    log_as_json()
    server = DrainingServer(uvicorn_config(service, examples), service)
    server.run()
    return 0 if server.started else 1


def uvicorn_config(service: Service, examples: tuple[Example, ...] = ()) -> uvicorn.Config:
    """How uvicorn serves a service."""
    settings = service.settings
    return uvicorn.Config(
        make_app(service, examples),
        host=settings.host,
        port=settings.port,
        ws=WebSocketsSansIOProtocol,
        ws_max_size=settings.max_message_bytes,
        # No keep-alive pings: their answers wait behind audio that is taken at the machine's pace.
        ws_ping_interval=None,
        timeout_graceful_shutdown=5,
        log_config=None,
    )
