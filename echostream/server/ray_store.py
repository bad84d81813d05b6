"""Where sessions wait between two replicas on Ray: an actor of the cluster."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.exceptions import RayError

from echostream.server.handover import KEEP_SECONDS

NAMESPACE = "echostream"


class WaitingSessions:
    """Sessions between two replicas, by name; the class of an actor."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, bytes]] = {}  # with the time of their arrival

    def put(self, name: str, data: bytes) -> None:
        """Keeps a session; those that nobody came for are deleted."""
        now = time.monotonic()
        for old, (arrived, _) in list(self._kept.items()):
            if now - arrived > KEEP_SECONDS:
                del self._kept[old]
        self._kept[name] = now, data

    def take(self, name: str) -> bytes | None:
        """Removes a session and returns it; None if it is not there."""
        return self._kept.pop(name, (0.0, None))[1]


class ActorStore:
    """A `Store` in an actor of the cluster, which lives longer than any replica."""

    def __init__(self, name: str) -> None:
        actor = ray.remote(WaitingSessions)
        options = {"name": name, "get_if_exists": True, "lifetime": "detached"}
        options |= {"namespace": NAMESPACE}
        self._actor: Any = actor.options(num_cpus=0, max_restarts=-1, **options).remote()

    async def put(self, name: str, data: bytes) -> None:
        """See `Store.put`."""
        try:
            await self._actor.put.remote(name, data)
        except RayError as error:
            raise OSError(f"the actor of the sessions does not answer: {error}") from error

    async def take(self, name: str) -> bytes | None:
        """See `Store.take`. Raises OSError."""
        try:
            data: bytes | None = await self._actor.take.remote(name)
        except RayError as error:
            raise OSError(f"the actor of the sessions does not answer: {error}") from error
        return data
