"""Read-only viewers of a session: `/v1/realtime/watch?id=sess_...`."""

from __future__ import annotations

import asyncio

from starlette.websockets import WebSocket, WebSocketDisconnect

from echostream.server.access import chosen_protocol
from echostream.server.events import error_event, event
from echostream.server.outbox import CLOSE_SLOW, Outbox, SlowClientError
from echostream.server.service import Service


async def watch(service: Service, websocket: WebSocket) -> None:
    """Sends the deltas of a session from its beginning (at most the last 4096) to its end.

    The identifier of a session is all that a viewer needs: it cannot be guessed.
    """
    await websocket.accept(subprotocol=chosen_protocol(websocket))
    room = service.rooms.get(websocket.query_params.get("id", ""))
    if room is None:
        await websocket.send_text(
            error_event("session_not_found", "there is no session with this `id` now.", "id")
        )
        await websocket.close(1000)
        return
    settings = service.settings
    outbox = Outbox(
        websocket.send_text, settings.max_unsent + len(room.history), settings.send_seconds
    )
    for message in room.history:
        outbox.put(message)
    room.viewers.add(outbox)
    sending = asyncio.create_task(outbox.run())
    leaving = asyncio.create_task(_until_left(websocket))
    try:
        done, _ = await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if sending in done:
            sending.result()
            await websocket.send_text(event("session.closed"))
            await websocket.close(1000)
    except SlowClientError:
        await websocket.close(CLOSE_SLOW)
    except (WebSocketDisconnect, RuntimeError):
        return
    finally:
        room.viewers.discard(outbox)
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _until_left(websocket: WebSocket) -> None:
    """Reads and drops what a viewer sends, until it leaves."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        continue
