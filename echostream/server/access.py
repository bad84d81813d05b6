"""Who may connect: the key of a client, and the page that a browser's connection comes from."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from echostream.server.settings import ServerSettings

KEY_PROTOCOL = "openai-insecure-api-key."  # of browsers, which can set no header
PROTOCOL = "realtime"


def refusal(connection: HTTPConnection, settings: ServerSettings) -> tuple[int, str] | None:
    """The HTTP status and the reason of a refusal, or None if the connection may be served."""
    origin = connection.headers.get("origin")
    if origin is not None and origin not in settings.allow_origins:
        host = connection.headers.get("host", "")
        if urlsplit(origin).netloc.lower() != host.lower():
            return 403, f"a page of {origin[:100]} may not connect: see --allow-origin."
    if settings.api_key is not None and not _same(given_key(connection), settings.api_key):
        return 401, "the API key is missing or wrong."
    return None


def given_key(connection: HTTPConnection) -> str:
    """The key of a client, from its header or, in a browser, its subprotocol; empty without."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    for protocol in connection.scope.get("subprotocols", []):
        if protocol.startswith(KEY_PROTOCOL):
            return str(protocol.removeprefix(KEY_PROTOCOL))
    return ""


def chosen_protocol(connection: HTTPConnection) -> str | None:
    """The subprotocol to accept, if the client offers the one we have."""
    return PROTOCOL if PROTOCOL in connection.scope.get("subprotocols", []) else None


def _same(given: str, key: str) -> bool:
    """Comparison in constant time."""
    return hmac.compare_digest(given.encode(), key.encode())
