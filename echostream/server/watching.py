"""Read-only viewers of a session: `/v1/realtime/watch?id=sess_...`."""

from __future__ import annotations

import asyncio

from starlette.websockets import WebSocket, WebSocketDisconnect

from echostream.server.access import chosen_protocol
from echostream.server.closing import NORMAL, RESTART, SLOW, hang_up
from echostream.server.events import error_event, event
from echostream.server.outbox import Outbox, SlowClientError
from echostream.server.service import Service


async def watch(service: Service, websocket: WebSocket) -> None:
    """Sends the deltas of a session from its beginning (at most the last 4096) to its end.

    A session that moves has its next deltas at the server that takes it up, under the same name.

    The identifier of a session is all that a viewer needs: it cannot be guessed.
    """
    await websocket.accept(subprotocol=chosen_protocol(websocket))
    room = service.watched(websocket.query_params.get("id", ""))
    if room is None:
        await websocket.send_text(
            error_event("session_not_found", "there is no session with this `id` now.", "id")
        )
        await hang_up(websocket, NORMAL, service.settings.send_seconds)
        return
    settings = service.settings
    outbox = Outbox(
        websocket.send_text, settings.max_unsent + len(room.history), settings.send_seconds
    )
    for message in room.history:
        outbox.put(message)
    if room.name in service.rooms:
        room.viewers.add(outbox)
    else:
        outbox.close()
    sending = asyncio.create_task(outbox.run())
    leaving = asyncio.create_task(_until_left(websocket))
    try:
        done, _ = await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if sending in done:
            sending.result()
            last = event("session.moved", id=room.name) if room.moved else event("session.closed")
            await websocket.send_text(last)
            await hang_up(websocket, RESTART if room.moved else NORMAL, settings.send_seconds)
    except SlowClientError:
        await hang_up(websocket, SLOW, settings.send_seconds)
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
