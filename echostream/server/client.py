"""A client of the realtime-translation protocol: sends audio, gives the deltas as they come."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from echostream.server.events import EXTENSION

PATH = "/v1/realtime/translations"
PIECE_MS = 100
_ENDINGS = ("session_idle", "session_expired", "server_draining")  # remaining words follow
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
    """One session with a server.

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
        self._url = websocket_url(url)
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._options = dict(options)
        self._show, self._warn = show, warn
        self._ended = asyncio.Event()  # the source, or what the server takes of it

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
        try:
            async with connect(self._url, additional_headers=self._headers) as link:
                sending = asyncio.create_task(self._send(link, pieces, real_time))
                try:
                    await self._receive(link)
                finally:
                    sending.cancel()
                    results = await asyncio.gather(sending, return_exceptions=True)
            if isinstance(results[0], AudioSourceError):
                raise results[0]
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

    async def _receive(self, link: ClientConnection) -> None:
        """Shows the deltas; returns with `session.closed`."""
        while True:
            event = json.loads(await link.recv())
            if event["type"] == "session.closed":
                return
            if event["type"] == "error":
                self._fail(event["error"])
            elif event["type"].endswith("_transcript.delta"):
                self._show(event)

    def _fail(self, error: Mapping[str, Any]) -> None:
        if error.get("code") not in _ENDINGS:
            raise ServerError(f"{self._url}: {error.get('message') or error.get('code')}")
        self._warn(str(error.get("message")))
        self.stop()

    async def _send(self, link: ClientConnection, pieces: Iterator[bytes], real_time: bool) -> None:
        asked = {"audio": {"input": {"transcription": {"model": "default"}}}}
        await _message(link, "session.update", session={**asked, EXTENSION: self._options})
        loop = asyncio.get_running_loop()
        begin, seconds = loop.time(), 0.0
        try:
            while not self._ended.is_set():
                piece = await asyncio.to_thread(next, pieces, b"")
                if not piece:
                    break
                seconds += len(piece) / 2 / self._options["sample_rate"]
                if real_time and (wait := begin + seconds - loop.time()) > 0:
                    await self._wait(wait)
                audio = base64.b64encode(piece).decode("ascii")
                await _message(link, "session.input_audio_buffer.append", audio=audio)
        finally:
            await _message(link, "session.close")  # also after an error of the source

    async def _wait(self, seconds: float) -> None:
        """Waits, at most until the source ends."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)


async def _message(link: ClientConnection, kind: str, **fields: Any) -> None:
    await link.send(json.dumps({"type": kind, **fields}))
