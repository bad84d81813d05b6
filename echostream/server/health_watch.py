"""How a replica finds out that its orchestrator will stop it, and hands its sessions over."""

from __future__ import annotations

import asyncio
import time

from echostream.server.log import log
from echostream.server.service import Service

HEALTH_SECONDS = 1.0  # between two health checks
FORGOTTEN_SECONDS = 4.0  # without one


class HealthWatch:
    """Drains a service that is no longer asked for its health, until it is asked again.

    Ray Serve does not tell a replica that it will be stopped: it routes nothing to it any more,
    waits until its connections have ended, and no longer asks for its health. A controller that was
    restarted may do so again.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._asked = time.monotonic()
        self._watching: asyncio.Task[None] | None = None

    def asked(self) -> None:
        """To be called at each health check, on the event loop; the first begins the watch."""
        self._asked = time.monotonic()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        service, drain = self._service, None
        while True:
            await asyncio.sleep(HEALTH_SECONDS / 2)
            is_forgotten = time.monotonic() - self._asked > FORGOTTEN_SECONDS
            if is_forgotten and drain is None:
                log("draining", sessions=len(service.rooms))
                service.draining = True
                drain = asyncio.create_task(service.drain(service.settings.drain_seconds))
            elif not is_forgotten and drain is not None:
                log("serving again")
                drain.cancel()
                service.draining, drain = False, None
