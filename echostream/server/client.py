"""A client of the realtime-translation protocol: sends audio, gives the deltas as they come."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from echostream.server.events import EXTENSION
from echostream.server.handover import KEEP_SECONDS
from echostream.server.pacing import Clock, Flight

PATH = "/v1/realtime/translations"
PIECE_MS = 100
KEPT_PIECES = 600  # a minute, to send again to the next server
RETRY_SECONDS = 0.5
_ENDINGS = ("session_idle", "session_expired", "server_draining")  # remaining words follow
_AGAIN = ("server_draining", "server_full", "try_again")  # to a session that has moved
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


class ServerError(RuntimeError):
    """A server that refuses a session, loses it, or cannot be reached."""


class AudioSourceError(OSError):
    """A microphone or a file that gives no audio."""


def websocket_url(url: str) -> str:
    """The address of a server's websocket; a path that is given is kept.

    Raises ValueError for anything but ws, wss, http and https with a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError(f"`--url` must be like ws://HOST:PORT or wss://HOST, but is {url!r}.")
    path = parts.path if parts.path.strip("/") else PATH
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


class RealtimeClient:
    """One session with a server, or with several if it moves from one to the next.

    Args:
        url: of the server, see `websocket_url`.
        key: that the server asks for, or None.
        options: of the session, beyond the protocol; `sample_rate` is that of the audio, in Hz.
        show: called with each event whose delta is text.
        warn: called with a sentence when the server ends the session early.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        options: Mapping[str, Any],
        show: Callable[[Mapping[str, Any]], None],
        warn: Callable[[str], None],
    ) -> None:
        self.moves = 0  # to another server
        self._url = websocket_url(url)
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._options = {**options, "resume": True}
        self._show, self._warn = show, warn
        self._ended = asyncio.Event()  # the source, or what the server takes of it
        self._source: Iterator[bytes] = iter(())
        self._clock = Clock(False, options["sample_rate"])
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=KEPT_PIECES)  # by first sample
        self._position = 0  # samples sent
        self._next: asyncio.Future[bytes] | None = None
        self._announced = False  # whether the server has ended the source
        self._flight = Flight()
        self._give_up = 0.0  # when the server that a session has moved to is waited for no more

    def stop(self) -> None:
        """Ends the source; the remaining words still come."""
        self._ended.set()

    async def run(self, pieces: Iterator[bytes], real_time: bool) -> None:
        """Sends PCM16 in pieces and shows what comes back, until the server closes the session.

        With `real_time` each piece is sent when it would have been recorded.

        Raises:
            ServerError: see the class.
            AudioSourceError: raised by `pieces`, after the words of what was sent.
        """
        self._source = pieces
        self._clock = Clock(real_time, self._options["sample_rate"])
        resume = await self._session(None)
        while resume is not None:
            resume = await self._session(resume)

    async def _session(self, resume: str | None) -> str | None:
        """One connection; the identifier of the session if it has moved, else None."""
        url = self._url if resume is None else _with_query(self._url, resume=resume)
        try:
            link = await self._connect(url, resume is not None)
            async with link:
                first = json.loads(await link.recv())
                if first["type"] == "error":
                    may_retry = first["error"]["code"] in _AGAIN
                    if resume is not None and may_retry and _now() < self._give_up:
                        await asyncio.sleep(RETRY_SECONDS)
                        return resume
                    raise ServerError(f"{self._url}: {first['error']['message']}")
                start = first["session"].get("received_samples", 0)
                sending = asyncio.create_task(self._send(link, start, resume is None))
                try:
                    moved = await self._receive(link)
                finally:
                    sending.cancel()
                    results = await asyncio.gather(sending, return_exceptions=True)
            failed = results[0]
            if isinstance(failed, Exception) and not isinstance(failed, ConnectionClosed):
                raise failed
            return moved
        except InvalidStatus as error:
            status = error.response.status_code
            key = " Is `--api-key` right?" if status in (401, 403) else ""
            raise ServerError(f"{self._url} refuses the connection: HTTP {status}.{key}") from error
        except ConnectionClosed as error:
            reason = f" ({error.rcvd.reason})" if error.rcvd and error.rcvd.reason else ""
            raise ServerError(f"the connection to {self._url} was lost{reason}.") from error
        except (OSError, InvalidHandshake, InvalidURI) as error:
            if isinstance(error, AudioSourceError):
                raise
            raise ServerError(f"{self._url} does not answer: {error}.") from error

    async def _connect(self, url: str, again: bool) -> ClientConnection:
        """A connection; `again` waits for a server that restarts."""
        while again and _now() < self._give_up:
            try:
                return await connect(url, additional_headers=self._headers)
            except (OSError, InvalidHandshake):
                await asyncio.sleep(RETRY_SECONDS)
        return await connect(url, additional_headers=self._headers)

    async def _receive(self, link: ClientConnection) -> str | None:
        """Shows the deltas; returns when the session is closed or moves, see `_session`."""
        while True:
            event = json.loads(await link.recv())
            if event["type"] == "session.closed":
                return None
            if event["type"] == "session.moved":
                self.moves += 1
                self._give_up = _now() + KEEP_SECONDS
                return str(event["id"])
            if event["type"] == "error":
                self._fail(event["error"])
            elif event["type"] == "echostream.pong":
                self._flight.arrive(event["id"])
            elif event["type"].endswith("_transcript.delta"):
                self._show(event)

    def _fail(self, error: Mapping[str, Any]) -> None:
        if self._announced and error.get("code") == "session_closing":
            return  # what was sent before the announcement came
        if error.get("code") not in _ENDINGS:
            raise ServerError(f"{self._url}: {error.get('message') or error.get('code')}")
        self._warn(str(error.get("message")))
        self._announced = True
        self.stop()

    async def _send(self, link: ClientConnection, start: int, is_new: bool) -> None:
        """Sends the audio from sample `start` on."""
        if is_new:
            asked = {"audio": {"input": {"transcription": {"model": "default"}}}}
            await _message(link, "session.update", session={**asked, EXTENSION: self._options})
        self._flight = Flight()
        if start < (self._kept[0][0] if self._kept else 0):
            raise ServerError(
                f"{self._url} asks for audio of more than a minute ago, which is not kept."
            )
        try:
            for first, piece in list(self._kept):
                if first >= start:
                    await self._append(link, piece)
            while not self._ended.is_set():
                if not (piece := await self._next_piece()):
                    self.stop()
                    break
                self._kept.append((self._position, piece))
                self._position += len(piece) // 2
                await self._clock.wait(self._position, self._ended)
                if not self._announced:
                    await self._append(link, piece)
        except Exception:  # of the source: the words of what was sent still come
            await _message(link, "session.close")
            raise
        if not self._announced:
            await _message(link, "session.close")

    async def _append(self, link: ClientConnection, piece: bytes) -> None:
        """Sends a piece when few enough are on their way."""
        await self._flight.wait()
        audio = base64.b64encode(piece).decode("ascii")
        await _message(link, "session.input_audio_buffer.append", audio=audio)
        if self._flight.depart():
            await _message(link, "echostream.ping", id=self._flight.sent)

    async def _next_piece(self) -> bytes:
        """The next piece of the source; nothing of it is lost if this is cancelled."""
        if self._next is None:
            self._next = asyncio.ensure_future(asyncio.to_thread(next, self._source, b""))
        piece = await asyncio.shield(self._next)
        self._next = None
        return piece


def _now() -> float:
    return asyncio.get_running_loop().time()


def _with_query(url: str, **fields: str) -> str:
    parts = urlsplit(url)
    query = urlencode([*parse_qsl(parts.query), *fields.items()])
    return urlunsplit(parts._replace(query=query))


async def _message(link: ClientConnection, kind: str, **fields: Any) -> None:
    await link.send(json.dumps({"type": kind, **fields}))
