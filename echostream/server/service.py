"""What all connections of a server share: the engine, the options offered, who is connected."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from echostream.model_folder import Model
from echostream.server.engine import Engine, Step
from echostream.server.handover import Store
from echostream.server.metrics import Metrics
from echostream.server.outbox import Outbox
from echostream.server.settings import ServerSettings
from echostream.session.settings import SessionSettings
from echostream.session_config import DECODING_METHODS, SessionConfig
from echostream.streaming.clock import algorithmic_latency_ms

logger = logging.getLogger(__name__)

MAX_HISTORY = 4096  # events of a session that a viewer who comes later still gets
KEEP_ENDED_SECONDS = 30  # for viewers that come after the end


class RefusedError(RuntimeError):
    """A session that is not admitted; `code` is that of the `error` event."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(eq=False)
class Room:
    """One session as its viewers see it: what came out so far, and who watches."""

    name: str
    finish: Callable[[], Awaitable[None]]  # ends the source of the session
    move: Callable[[], Awaitable[None]] | None = None  # to another server, if it can
    history: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_HISTORY))
    viewers: set[Outbox] = field(default_factory=set)
    moved: bool = False  # whether the session goes on elsewhere

    def show(self, message: str) -> None:
        """Sends an event to all viewers, and keeps it for those that come later."""
        self.history.append(message)
        for viewer in self.viewers:
            viewer.put(message)

    def close(self) -> None:
        """Ends the connections of all viewers."""
        for viewer in self.viewers:
            viewer.close()


class Service:
    """A model that is served.

    Args:
        model: as `load_model` returns it.
        name: of the model, for clients.
        config: the options of a session that asks for none.
        settings: of the server.
        languages: codes of the source and the target language, None where not known.
        about: what the model can translate, in a sentence for the page.
        store: where sessions wait that move to another server; None: they end with this one.
    """

    def __init__(
        self,
        model: Model,
        name: str,
        config: SessionConfig,
        settings: ServerSettings,
        languages: tuple[str | None, str | None] = (None, None),
        about: str = "",
        store: Store | None = None,
    ) -> None:
        checked = SessionSettings(model, config)
        self.name = name
        self.settings = settings
        self.languages = languages
        self.about = about
        self.store = store
        self.metrics = Metrics()
        self.can_speak = config.speech
        self.look_aheads = tuple(model.network.max_future_frames)
        self.methods = DECODING_METHODS if model.config.decoder_layers else ("ctc",)
        # Source words are always found: they cost a table look-up, and one batch serves all.
        self.config = replace(config, transcript=True, max_future_frames=checked.max_future_frames)
        self.draining = False
        self.rooms: dict[str, Room] = {}
        self._ended: dict[str, Room] = {}  # not long ago
        self._changed = asyncio.Event()  # set when a session has ended
        self.engine = Engine(
            model, settings.capacity, settings.max_backlog_groups, self._count_step
        )

    def variants(self) -> list[SessionConfig]:
        """All options that a session may choose, the default first."""
        speeches = (True, False) if self.can_speak else (False,)
        choices = itertools.product(self.look_aheads, self.methods, speeches)
        made = {self.config: None} | {self.variant(*choice): None for choice in choices}
        return list(made)

    def variant(self, max_future_frames: int, method: str, speech: bool) -> SessionConfig:
        """The default options with another look-ahead, decoding method or output."""
        chosen: dict[str, Any] = {"max_future_frames": max_future_frames, "speech": speech}
        if not speech:
            chosen["refine_steps"] = 0
        if method != self.config.decoding_method:
            # The default lagging and policy are those of the other method.
            policy = {"policy": "ctc", "lagging_k2": 0, "stride_n": 1}
            chosen |= {"decoding_method": method, "lagging_k1": int(method == "decoder"), **policy}
        return replace(self.config, **chosen)

    @property
    def full(self) -> bool:
        """Whether no further session is admitted now."""
        return self.draining or len(self.rooms) >= self.settings.capacity

    def admit(self, name: str, finish: Callable[[], Awaitable[None]]) -> Room:
        """A place for a session, which `end` gives back; `finish` ends its source at a shutdown.

        Raises:
            RefusedError: if the server is full or about to stop.
        """
        if self.draining:
            raise self._refused("server_draining", "the server stops soon: connect to another.")
        if self.full:
            capacity = self.settings.capacity
            raise self._refused("server_full", f"the server is full: it has {capacity} sessions.")
        room = self.rooms[name] = Room(name, finish)
        self.metrics.opened.inc()
        self.metrics.sessions.set(len(self.rooms))
        return room

    def watched(self, name: str) -> Room | None:
        """The session with this name that is running, or has ended not long ago."""
        return self.rooms.get(name) or self._ended.get(name)

    def end(self, room: Room, reason: str) -> None:
        """Gives the place of a session back."""
        del self.rooms[room.name]
        self._changed.set()
        room.close()
        if room.history and not room.moved:
            self._ended[room.name] = room
            asyncio.get_running_loop().call_later(
                KEEP_ENDED_SECONDS, self._ended.pop, room.name, None
            )
        self.metrics.ended.labels(reason).inc()
        self.metrics.sessions.set(len(self.rooms))

    async def empty(self) -> None:
        """Returns when there is no session."""
        while self.rooms:
            self._changed.clear()
            await self._changed.wait()

    async def move_all(self) -> None:
        """Moves the sessions whose clients come back; the others go on."""
        moving = [room.move() for room in self.rooms.values() if room.move is not None]
        for found in await asyncio.gather(*moving, return_exceptions=True):
            if isinstance(found, Exception):  # its session goes on here
                logger.error("a session could not move", exc_info=found)

    async def drain(self, seconds: float) -> None:
        """Moves the sessions that can move; the others may finish within `seconds`.

        If this is cancelled, the sessions that are on their way still move.
        """
        await asyncio.shield(self.move_all())
        try:
            await asyncio.wait_for(self.empty(), seconds)
        except asyncio.TimeoutError:
            await self.close_all()

    async def close_all(self, seconds: float = 5) -> None:
        """Ends the source of every session and waits for their last words, at most `seconds`."""
        ending = [room.finish() for room in self.rooms.values()]
        await asyncio.gather(*ending, return_exceptions=True)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.empty(), seconds)

    def latency(self, config: SessionConfig, step: Step) -> dict[str, float]:
        """The parts of the latency of the words of a step, in ms, as far as the server sees it."""
        if step.outputs:
            self.metrics.queue_seconds.observe(step.queue_ms / 1000)
            self.metrics.lag_seconds.observe((step.queue_ms + step.compute_ms) / 1000)
        return {
            "algorithm_ms": algorithmic_latency_ms(config.max_future_frames or 0),
            "queue_ms": round(step.queue_ms, 1),
            "compute_ms": round(step.compute_ms, 1),
        }

    def _count_step(self, streams: int, seconds: float) -> None:
        self.metrics.step_seconds.observe(seconds)
        self.metrics.step_streams.inc(streams)

    def _refused(self, code: str, message: str) -> RefusedError:
        self.metrics.refused.labels(code).inc()
        return RefusedError(code, message)
