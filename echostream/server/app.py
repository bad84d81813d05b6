"""The routes of a server, as an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from echostream.server.access import refusal
from echostream.server.examples import Example
from echostream.server.heap import keep_trimmed
from echostream.server.log import log
from echostream.server.realtime import RealtimeSession
from echostream.server.service import Service
from echostream.server.simulstream import SimulstreamConnection
from echostream.server.watching import watch
from echostream.streaming.clock import GROUP_MS

PAGE = files("echostream.server") / "page"
MEDIA = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
# The page loads nothing from elsewhere and talks to its own host only.
POLICY = "default-src 'self'; connect-src 'self'; img-src 'self' data:; object-src 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def make_app(service: Service, examples: tuple[Example, ...] = ()) -> Starlette:
    """The application of a service; its lifespan starts and stops the engine.

    `examples` are recordings that the page offers beside the microphone.
    """
    recordings = {example.path.name: example for example in examples}

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.engine.start()
        trimming = asyncio.create_task(keep_trimmed())
        try:
            for config in service.variants():
                await service.engine.prepare(config)
            yield
        finally:
            trimming.cancel()
            service.engine.stop()

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        file = PAGE / name
        suffix = "." + name.rpartition(".")[2]
        if suffix not in MEDIA or not file.is_file():
            return PlainTextResponse("not found", 404)
        return Response(file.read_bytes(), media_type=MEDIA[suffix], headers=HEADERS)

    async def info(request: Request) -> Response:
        return JSONResponse(
            {
                "model": service.name,
                "source_language": service.languages[0],
                "target_language": service.languages[1],
                "max_future_frames": list(service.look_aheads),
                "decoding_methods": list(service.methods),
                "default": {
                    "max_future_frames": service.config.max_future_frames,
                    "decoding_method": service.config.decoding_method,
                },
                "group_ms": GROUP_MS,
                "speech": service.can_speak,
                "needs_key": service.settings.api_key is not None,
                "examples": [example.described() for example in examples],
                "about": service.about,
            }
        )

    async def recording(request: Request) -> Response:
        example = recordings.get(request.path_params["name"])
        if example is None:
            return PlainTextResponse("not found", 404)
        return Response(example.wav(), media_type="audio/wav", headers=HEADERS)

    async def healthz(request: Request) -> Response:
        if service.engine.alive:
            return PlainTextResponse("ok")
        return PlainTextResponse("the engine has stopped", 503)

    async def readyz(request: Request) -> Response:
        if not service.engine.alive:
            return PlainTextResponse("the engine has stopped", 503)
        if service.full:
            return PlainTextResponse("draining" if service.draining else "server_full", 503)
        return PlainTextResponse("ok")

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    async def realtime(websocket: WebSocket) -> None:
        await RealtimeSession(service, websocket).run()

    async def simulstream(websocket: WebSocket) -> None:
        await SimulstreamConnection(service, websocket).run()

    async def viewer(websocket: WebSocket) -> None:
        await watch(service, websocket)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/page/{name}", page),
            Route("/v1/info", info),
            Route("/examples/{name}", recording),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            WebSocketRoute("/v1/realtime/translations", _guarded(service, realtime)),
            WebSocketRoute("/v1/realtime/watch", _guarded(service, viewer)),
            WebSocketRoute("/simulstream", _guarded(service, simulstream)),
            # simulstream's clients are often given the host and port alone
            WebSocketRoute("/", _guarded(service, simulstream)),
        ],
        lifespan=lifespan,
    )


def _guarded(
    service: Service, serve: Callable[[WebSocket], Awaitable[None]]
) -> Callable[[WebSocket], Awaitable[None]]:
    """A websocket that only clients with the key and pages of allowed hosts may open."""

    async def guarded(websocket: WebSocket) -> None:
        refused = refusal(websocket, service.settings)
        if refused is None:
            await serve(websocket)
            return
        status, reason = refused
        service.metrics.refused.labels("forbidden").inc()
        log("connection refused", reason=reason)
        await websocket.send_denial_response(PlainTextResponse(reason, status))

    return guarded
