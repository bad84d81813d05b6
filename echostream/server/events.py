"""Messages of the realtime-translation protocol, as a server reads and writes them."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLIENT_RATE = 24_000  # Hz, of PCM16 in both directions
EXTENSION = "echostream"  # the key of what the protocol does not have
MAX_ECHOED = 128  # characters of a client's text that the server sends back


class ProtocolError(ValueError):
    """A message that cannot be carried out; the session goes on.

    `code` and `param` are those of the `error` event.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def new_id(kind: str) -> str:
    """An identifier that cannot be guessed, as in sess_..."""
    return f"{kind}_{secrets.token_urlsafe(16)}"


def event(kind: str, **fields: Any) -> str:
    """An event of the server, as JSON."""
    return json.dumps({"type": kind, "event_id": new_id("event"), **fields}, ensure_ascii=False)


def error_event(
    code: str,
    message: str,
    param: str | None = None,
    of: str | None = None,
    kind: str = "invalid_request_error",
) -> str:
    """An `error` event; `of` is the identifier of the client's event that caused it."""
    return event(
        "error",
        error={"type": kind, "code": code, "message": message, "param": param, "event_id": of},
    )


def read_message(text: str | bytes) -> dict[str, Any]:
    """A client's message: a JSON object with a `type`.

    Raises `ProtocolError` for anything else, and for half of a surrogate pair in its texts, which
    cannot be sent back.
    """
    if isinstance(text, bytes):
        raise ProtocolError(
            "invalid_message", "a message must be JSON text, but is binary instead."
        )
    try:
        message = json.loads(text)
        if "\\ud" in text.lower():  # an escape, of which both halves must be there
            json.dumps(message, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ProtocolError("invalid_json", f"the message is not JSON: {error}.") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError("invalid_message", "a message must be an object with a `type`.", "type")
    return message


def echoed(value: object, path: str) -> str | int | float | None:
    """A value that the server sends back: a short text, a number or null.

    Raises `ProtocolError` naming `path` for anything else.
    """
    if isinstance(value, (str, int, float, type(None))) and len(str(value)) <= MAX_ECHOED:
        return value
    raise ProtocolError(
        "invalid_value",
        f"`{path}` must be a number or a text of at most {MAX_ECHOED} characters.",
        path,
    )


def read_samples(message: Mapping[str, Any]) -> NDArray[np.float32]:
    """The samples (S,) in [-1, 1) of `audio`, base64 of PCM16, little-endian.

    Raises `ProtocolError` if it is anything else.
    """
    audio = message.get("audio")
    if not isinstance(audio, str):
        raise ProtocolError("invalid_audio", "`audio` must be a base64 text.", "audio")
    try:
        data = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("invalid_audio", f"`audio` is not base64: {error}.", "audio") from error
    return pcm16(data)


def pcm16(data: bytes) -> NDArray[np.float32]:
    """Samples (S,) in [-1, 1) of 16-bit little-endian PCM.

    Raises `ProtocolError` for an odd number of bytes.
    """
    if len(data) % 2:
        raise ProtocolError(
            "invalid_audio",
            f"PCM16 has an even number of bytes, but these are {len(data)}.",
            "audio",
        )
    samples: NDArray[np.float32] = np.frombuffer(data, "<i2") / np.float32(32768)
    return samples


def as_pcm16(samples: NDArray[np.float32]) -> bytes:
    """Samples (S,) as 16-bit little-endian PCM; values beyond [-1, 1) are clipped."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()


def base64_pcm16(samples: NDArray[np.float32]) -> str:
    """Samples (S,) as base64 of PCM16, see `as_pcm16`."""
    return base64.b64encode(as_pcm16(samples)).decode("ascii")


def field(value: object, path: str, kind: type, what: str) -> Any:
    """`value` if it is a `kind` or null; raises `ProtocolError` naming `path` otherwise."""
    if value is None or (isinstance(value, kind) and not (kind is int and value is True)):
        return value
    raise ProtocolError(
        "invalid_value", f"`{path}` must be {what}, but is {value!r:.80} instead.", path
    )
