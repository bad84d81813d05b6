"""simulstream's websocket: PCM16 in binary messages, metadata and captions as JSON.

simulstream's own server has a copy of the model for each client and resamples each message alone;
here a client is a stream of the one batch, resampled as a stream.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from echostream.frontend.audio import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from echostream.server.access import chosen_protocol
from echostream.server.caption import Caption
from echostream.server.closing import GOING_AWAY, SLOW, TRY_LATER, WRONG, hang_up
from echostream.server.engine import Seat, Step
from echostream.server.events import ProtocolError, new_id, pcm16
from echostream.server.log import log
from echostream.server.outbox import Outbox, SlowClientError
from echostream.server.service import RefusedError, Service
from echostream.streaming import SAMPLE_RATE


class SimulstreamConnection:
    """One client of simulstream; `end_of_stream` ends a stream, and another may follow."""

    def __init__(self, service: Service, websocket: WebSocket) -> None:
        self._service = service
        self._websocket = websocket
        settings = service.settings
        self._outbox = Outbox(websocket.send_text, settings.max_unsent, settings.send_seconds)
        self._sample_rate = SAMPLE_RATE
        self._seat: Seat | None = None
        self._caption = Caption()
        self._ended = asyncio.Event()
        self._ending = asyncio.Lock()  # held until the last words of a stream
        self._draining = False  # whether the server stops: no more audio is taken
        self._error: Exception | None = None  # why the stream was lost
        # simulstream has no speech, and no way to ask for options.
        default = service.config
        self._config = service.variant(
            default.max_future_frames or 0, default.decoding_method, speech=False
        )

    async def run(self) -> None:
        """Serves the client until it leaves."""
        await self._websocket.accept(subprotocol=chosen_protocol(self._websocket))
        try:
            room = self._service.admit(new_id("sess"), self._drain)
        except RefusedError as refused:
            await self._close(TRY_LATER, str(refused))
            return
        log("session opened", session=room.name, protocol="simulstream")
        reason = "vanished"
        sending = asyncio.create_task(self._outbox.run())
        reading = asyncio.create_task(self._read())
        try:
            done, _ = await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            reason = "drained"  # else neither ends without an error
            await self._close(GOING_AWAY, "the server stops")
        except WebSocketDisconnect:
            reason = "closed"
        except SlowClientError:
            reason = "slow"
            await self._close(SLOW, "slow client")
        except (ProtocolError, asyncio.TimeoutError) as error:
            reason = "idle" if isinstance(error, asyncio.TimeoutError) else "invalid"
            await self._close(WRONG, str(error) or "no message for too long")
        finally:
            for task in (sending, reading):
                task.cancel()
            await asyncio.gather(sending, reading, return_exceptions=True)
            if self._seat is not None:
                self._service.engine.leave(self._seat)
            self._service.end(room, reason)
            log("session ended", session=room.name, reason=reason)

    async def _read(self) -> None:
        while True:
            received = await asyncio.wait_for(
                self._websocket.receive(), self._service.settings.idle_seconds
            )
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received.get("code", 1006))
            if (data := received.get("bytes")) is not None:
                await self._push(data)
            else:
                await self._describe(received.get("text") or "")

    async def _push(self, data: bytes) -> None:
        samples = pcm16(data)
        if self._seat is None:
            self._seat = await self._service.engine.join(self._config, self._show)
        self._service.metrics.audio_seconds.inc(len(samples) / self._sample_rate)
        try:
            await (await self._service.engine.push(self._seat, samples, self._sample_rate))
        except RuntimeError as error:
            if self._draining:  # it came after the end of the stream
                return
            raise ProtocolError("server_error", f"the stream was lost: {error}") from error

    async def _describe(self, text: str) -> None:
        """Carries out a text message."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ProtocolError("invalid_json", f"the message is not JSON: {error}.") from error
        if not isinstance(data, dict):
            raise ProtocolError("invalid_message", "a message must be an object.")
        if "end_of_stream" in data:
            await self._end()
            return
        source, target = self._service.languages
        for key, language in (("source_lang", source), ("target_lang", target)):
            if (asked := data.get(key)) is not None and asked != language:
                has = "no language by name" if language is None else language
                raise ProtocolError(
                    "unsupported_language", f"`{key}` must be {has}, but is {asked!r:.40}.", key
                )
        if "sample_rate" in data:
            self._sample_rate = self._rate(data["sample_rate"])

    def _rate(self, rate: Any) -> int:
        if type(rate) is not int or not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
            raise ProtocolError(
                "invalid_value",
                f"`sample_rate` must be from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, "
                f"but is {rate!r:.40} instead.",
                "sample_rate",
            )
        if self._seat is not None and rate != self._sample_rate:
            raise ProtocolError(
                "session_started", f"`sample_rate` must stay {self._sample_rate} within a stream."
            )
        return int(rate)

    async def _drain(self) -> None:
        """Ends the stream because the server stops; the connection follows its last words."""
        self._draining = True
        try:
            if self._seat is not None:
                await self._end()
        finally:
            self._outbox.close()

    async def _end(self) -> None:
        async with self._ending:
            if self._seat is not None:
                await self._service.engine.finish(self._seat)
                await self._ended.wait()
                if self._error is not None:
                    raise ProtocolError("server_error", f"the stream was lost: {self._error}")
            self._outbox.put(json.dumps({"end_of_processing": True}))
            self._seat, self._caption, self._ended = None, Caption(), asyncio.Event()

    def _show(self, step: Step) -> None:
        """Sends the words of a step; called on the event loop."""
        self._service.latency(self._config, step)
        for output in step.outputs:
            if new := self._caption.delta(output.words, output.unit):
                self._outbox.put(json.dumps({"new": new, "deleted": ""}, ensure_ascii=False))
        if step.last:
            self._error = step.error
            self._ended.set()

    async def _close(self, code: int, reason: str) -> None:
        await hang_up(self._websocket, code, self._service.settings.send_seconds, reason)
