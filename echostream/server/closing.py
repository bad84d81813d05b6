"""How the server closes a websocket, and with which code."""

from __future__ import annotations

import asyncio

from starlette.websockets import WebSocket, WebSocketDisconnect

from echostream.server.log import log

NORMAL = 1000
GOING_AWAY = 1001  # the server stops
WRONG = 1003  # a message that cannot be carried out
SLOW = 1008  # a client that breaks the rules
FAILED = 1011
RESTART = 1012  # the session goes on at the next server
TRY_LATER = 1013
MAX_REASON = 123  # bytes


async def hang_up(websocket: WebSocket, code: int, seconds: float, reason: str = "") -> None:
    """Closes the connection within so many seconds, unless the client has gone."""
    short = reason.encode()[:MAX_REASON].decode(errors="ignore")
    try:
        await asyncio.wait_for(websocket.close(code, short), seconds)
    except (WebSocketDisconnect, RuntimeError, asyncio.TimeoutError):
        log("connection was closed by the client")
