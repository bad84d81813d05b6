"""The end of a replica's health checks as the signal to hand its sessions over."""

from __future__ import annotations

import asyncio
import time

from echostream.server.log import log
from echostream.server.service import Service

HEALTH_SECONDS = 1.0  # between two health checks
OVERDUE_SECONDS = 4.0  # without one, after which no more are expected


class HealthWatch:
    """Drains a service whose health checks have ended; it serves again if they go on.

    Ray Serve gives a replica no stop signal: it routes nothing to it any more, waits until its
    connections have ended, and makes no more health checks. They also pause while Ray's controller
    is restarted.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._checked = time.monotonic()
        self._watching: asyncio.Task[None] | None = None

    def checked(self) -> None:
        """To be called at each health check, on the event loop; the first begins the watch."""
        self._checked = time.monotonic()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        service, drain = self._service, None
        while True:
            await asyncio.sleep(HEALTH_SECONDS / 2)
            is_overdue = time.monotonic() - self._checked > OVERDUE_SECONDS
            if is_overdue and drain is None:
                log("draining", sessions=len(service.rooms))
                service.draining = True
                drain = asyncio.create_task(service.drain(service.settings.drain_seconds))
            elif not is_overdue and drain is not None:
                log("serving again")
                drain.cancel()
                service.draining, drain = False, None
