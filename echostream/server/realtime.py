"""The realtime-translation protocol on a websocket: audio in, deltas of both texts and speech out.

A session goes through `session.created`, any number of `session.update`, audio, `session.close`,
the remaining deltas and `session.closed`. A message that cannot be carried out becomes an `error`
event, and the session goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from echostream.server.access import chosen_protocol
from echostream.server.closing import FAILED, NORMAL, RESTART, SLOW, TRY_LATER, hang_up
from echostream.server.deltas import Deltas
from echostream.server.engine import Seat, Step
from echostream.server.events import (
    MAX_ECHOED,
    ProtocolError,
    echoed,
    error_event,
    event,
    new_id,
    read_message,
    read_samples,
)
from echostream.server.log import log
from echostream.server.moved import Moved, restored
from echostream.server.options import Options, default_options, updated
from echostream.server.outbox import Outbox, SlowClientError
from echostream.server.service import RefusedError, Room, Service


class RealtimeSession:
    """One session of the protocol; `run` serves it to its end.

    Args:
        service: what all sessions share.
        websocket: of the client, not yet accepted.
    """

    def __init__(self, service: Service, websocket: WebSocket) -> None:
        self._service = service
        self._websocket = websocket
        self._id = new_id("sess")
        self._options: Options = default_options(service)
        self._expires = time.time() + 60 * service.settings.max_minutes
        self._outbox = Outbox(
            websocket.send_text, service.settings.max_unsent, service.settings.send_seconds
        )
        self._room = Room(self._id, self._drain)
        self._seat: Seat | None = None
        self._closing = False  # whether the client has sent everything
        self._move_lock = asyncio.Lock()  # held while the session moves or is resumed
        self._received = 0  # samples that the server before this one has received
        self._ended = asyncio.Event()  # set with the last step
        self._deltas = Deltas()
        self._reason = "vanished"

    async def run(self) -> None:
        """Serves the session until it is closed, refused or lost."""
        await self._websocket.accept(subprotocol=chosen_protocol(self._websocket))
        asked = self._websocket.query_params.get("model") or self._service.name
        try:
            if asked != self._service.name:
                raise RefusedError(
                    "model_not_found",
                    f"`model` must be {self._service.name}, but is {asked[:80]!r} instead.",
                )
            if (name := self._websocket.query_params.get("resume")) is not None:
                await self._resume(name)
            else:
                self._room = self._service.admit(self._id, self._drain)
        except RefusedError as refused:
            await self._refuse(refused)
            return
        log("session opened", session=self._id)
        try:
            await self._serve()
        except (SlowClientError, WebSocketDisconnect) as error:
            self._reason = "slow" if isinstance(error, SlowClientError) else "vanished"
            await self._hang_up(SLOW)
        finally:
            if self._seat is not None:
                self._service.engine.leave(self._seat)
            self._service.end(self._room, self._reason)
            log("session ended", session=self._id, reason=self._reason)

    async def _resume(self, name: str) -> None:
        """Takes up a session that has moved here.

        Raises RefusedError if it is not there, or does not fit this server.
        """
        service = self._service
        unknown = RefusedError("session_not_found", "there is no session to resume with this `id`.")
        if service.store is None:
            raise unknown
        if (room := service.rooms.get(name)) is not None:
            if room.moved:  # away from here; its connection has not ended yet
                raise RefusedError("try_again", "the session is moving to the next server.")
            raise unknown
        self._room = service.admit(name, self._drain)
        data = None
        try:
            async with self._move_lock:
                if (data := await service.store.take(name)) is None:
                    raise unknown
                moved = restored(data)
                if moved.stream:
                    self._seat = await service.engine.put(
                        moved.options.config, moved.stream, self._show
                    )
        except BaseException as error:
            service.end(self._room, "refused")
            if data is not None:  # another server may have its model
                await asyncio.shield(service.store.put(name, data))
            if isinstance(error, OSError):
                raise RefusedError("try_again", f"the session cannot be read: {error}") from error
            if isinstance(error, (ValueError, RuntimeError)) and error is not unknown:
                raise RefusedError(
                    "session_not_found", f"the session cannot be resumed: {error}"
                ) from error
            raise
        self._id, self._options, self._expires = name, moved.options, moved.expires
        self._received, self._deltas = moved.received, moved.deltas

    async def _move(self) -> None:
        """Leaves the session for another server, if its client comes back.

        The client's messages wait meanwhile.
        """
        service = self._service
        async with self._move_lock:
            if service.store is None or not self._options.resume:
                return
            if self._closing or self._room.moved:
                return
            data, received = b"", self._received
            if self._seat is not None:
                try:
                    data, received = await service.engine.take(self._seat)
                except RuntimeError:  # the stream has ended meanwhile
                    return
            try:
                moved = Moved(self._options, data, received, self._expires, self._deltas)
                await service.store.put(self._id, moved.pack())
            except BaseException as error:
                if self._seat is not None:
                    self._seat = await service.engine.put(self._options.config, data, self._show)
                if not isinstance(error, OSError):
                    raise
                log("session cannot move", session=self._id, reason=str(error))
                return
            self._room.moved, self._reason = True, "moved"
            self._outbox.put(event("session.moved", id=self._id, received_samples=received))
            self._ended.set()

    async def _serve(self) -> None:
        self._outbox.put(self._described("session.created"))
        self._room.move = self._move
        if self._service.draining:  # since it was taken up
            await self._move()
        sending = asyncio.create_task(self._outbox.run())
        reading = asyncio.create_task(self._read())
        try:
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
                await sending
                await self._hang_up(RESTART if self._room.moved else NORMAL)
            else:
                sending.result()
        finally:
            for task in (sending, reading):
                task.cancel()
            await asyncio.gather(sending, reading, return_exceptions=True)

    async def _read(self) -> None:
        """Carries out the client's messages; returns when the session is over."""
        while not self._ended.is_set():
            message = await self._receive()
            if message is None:
                break
            try:
                await self._carry_out(message)
            except ProtocolError as error:
                of = message.get("event_id")
                of = of[:MAX_ECHOED] if isinstance(of, str) else None
                self._outbox.put(error_event(error.code, str(error), error.param, of))
        if not self._room.moved:
            self._outbox.put(event("session.closed"))
        self._outbox.close()

    async def _receive(self) -> dict[str, Any] | None:
        """The next message; None when the stream has ended, is idle or has lasted too long."""
        settings = self._service.settings
        while True:
            seconds = min(settings.idle_seconds, self._expires - time.time())
            receiving = asyncio.ensure_future(self._websocket.receive())
            ended = asyncio.ensure_future(self._ended.wait())
            try:
                done, _ = await asyncio.wait(
                    (receiving, ended),
                    timeout=None if self._closing else max(0.0, seconds),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                for task in (receiving, ended):
                    task.cancel()
            if ended in done:
                return None
            if receiving not in done and self._closing:
                continue
            if receiving not in done:
                await self._time_out(seconds < settings.idle_seconds)
                continue
            received = receiving.result()
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received.get("code", 1006))
            try:
                return read_message(received.get("text") or received.get("bytes") or "")
            except ProtocolError as error:
                self._outbox.put(error_event(error.code, str(error), error.param))

    async def _time_out(self, expired: bool) -> None:
        settings = self._service.settings
        code, what = "session_idle", f"{settings.idle_seconds:g} s without a message"
        if expired:
            code, what = "session_expired", f"the {settings.max_minutes:g} minutes of a session"
        self._outbox.put(error_event(code, f"the session is closed after {what}."))
        await self.close(code.removeprefix("session_"))

    async def _carry_out(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "session.update":
            await self._update(message.get("session"))
        elif kind == "session.input_audio_buffer.append":
            await self._append(message)
        elif kind == "session.close":
            await self.close("closed")
        elif kind == "echostream.ping":
            self._outbox.put(event("echostream.pong", id=echoed(message.get("id"), "id")))
        else:
            raise ProtocolError("unknown_type", f"there is no message {kind!r:.80}.", "type")

    async def _update(self, session: object) -> None:
        options = updated(self._options, session, self._service)
        old = self._options
        if self._seat is not None and (options.config, options.sample_rate) != (
            old.config,
            old.sample_rate,
        ):
            raise ProtocolError(
                "session_started", "how the audio is translated cannot change after its beginning."
            )
        self._options = options
        self._outbox.put(self._described("session.updated"))
        if self._service.draining:  # the client may come back now
            await self._move()

    async def _append(self, message: Mapping[str, Any]) -> None:
        if self._closing:
            raise ProtocolError("session_closing", "the session takes no audio after its end.")
        samples = read_samples(message)
        rate = self._options.sample_rate
        engine = self._service.engine
        try:
            async with self._move_lock:
                if self._room.moved:  # the client sends it again, elsewhere
                    return
                if self._seat is None:
                    self._seat = await engine.join(self._options.config, self._show)
                taken = await engine.push(self._seat, samples, rate)
            self._service.metrics.audio_seconds.inc(len(samples) / rate)
            await taken
        except RuntimeError:  # the stream was lost; its last step has the reason
            await self._ended.wait()

    async def close(self, reason: str) -> None:
        """Ends the source; the remaining words and `session.closed` follow."""
        async with self._move_lock:
            if self._room.moved:  # the client closes it again, elsewhere
                return
            if self._closing:
                raise ProtocolError("session_closing", "the session is closing already.")
            self._closing, self._reason = True, reason
            if self._seat is None:
                self._ended.set()
            else:
                await self._service.engine.finish(self._seat)

    async def _drain(self) -> None:
        """Ends the source because the server stops."""
        if not self._closing and not self._room.moved:
            self._outbox.put(
                error_event("server_draining", "the server is about to stop.", kind="server_error")
            )
            await self.close("drained")

    def _show(self, step: Step) -> None:
        """Sends what a step gave; called on the event loop."""
        latency = self._service.latency(self._options.config, step)
        for output in step.outputs:
            source = self._deltas.source(output, latency)
            if source is not None:
                self._room.show(source)
                if self._options.transcription is not None:
                    self._outbox.put(source)
            target = self._deltas.target(output, latency)
            if target is not None:
                self._room.show(target)
                self._outbox.put(target)
            self._put(self._deltas.speech(output))
        if step.error is not None:
            self._reason = "failed"
            self._outbox.put(
                error_event(
                    "server_error", f"the stream was lost: {step.error}", kind="server_error"
                )
            )
        if step.last:
            self._put(self._deltas.last_speech())
            self._ended.set()

    def _put(self, message: str | None) -> None:
        if message is not None:
            self._outbox.put(message)

    def _described(self, kind: str) -> str:
        about: dict[str, Any] = {"id": self._id, "type": "translation"}
        about |= {"model": self._service.name, "expires_at": int(self._expires)}
        about |= {"received_samples": self._received} if self._received else {}
        return event(kind, session=about | self._options.described())

    async def _refuse(self, refused: RefusedError) -> None:
        log("session refused", reason=refused.code)
        code = FAILED if refused.code == "model_not_found" else TRY_LATER
        kind = "invalid_request_error" if code == FAILED else "server_error"
        try:
            await self._websocket.send_text(error_event(refused.code, str(refused), kind=kind))
        except (WebSocketDisconnect, RuntimeError):
            log("client left before its refusal")
            return
        await self._hang_up(code, str(refused))

    async def _hang_up(self, code: int, reason: str = "") -> None:
        await hang_up(self._websocket, code, self._service.settings.send_seconds, reason)
