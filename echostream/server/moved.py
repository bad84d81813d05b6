"""A session on its way to another server, as bytes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, NamedTuple

from echostream.server.deltas import Deltas
from echostream.server.options import Options
from echostream.session_config import SessionConfig

_LENGTH_BYTES = 8


class Moved(NamedTuple):
    """All of a session but its connection."""

    options: Options
    stream: bytes  # by `StreamBatch.take`; empty before the first audio
    received: int  # samples of the client
    expires: float  # as `time.time`
    deltas: Deltas

    def pack(self) -> bytes:
        """The length of a JSON object, this object, and the stream."""
        about = {
            "options": dataclasses.asdict(self.options),
            "received": self.received,
            "expires": self.expires,
            **self.deltas.get_state(),
        }
        head = json.dumps(about).encode()
        return len(head).to_bytes(_LENGTH_BYTES, "little") + head + self.stream


def restored(data: bytes) -> Moved:
    """The session of `pack`. Raises ValueError for other bytes."""
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    try:
        about: dict[str, Any] = json.loads(data[_LENGTH_BYTES:end])
        options = Options(
            **{**about["options"], "config": SessionConfig(**about["options"]["config"])}
        )
        received, expires = about["received"], about["expires"]
        return Moved(options, data[end:], received, expires, Deltas.from_state(about))
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no session: {error!r}") from error
