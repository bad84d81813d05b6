"""A session on its way to another server, as bytes."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any, NamedTuple

import numpy as np

from echostream.frontend.resample import StreamingResampler
from echostream.server.caption import Caption
from echostream.server.options import Options
from echostream.server.service import Service
from echostream.session_config import SessionConfig

_LENGTH_BYTES = 8


class Moved(NamedTuple):
    """All of a session but its connection."""

    options: Options
    stream: bytes  # by `StreamBatch.take`; empty before the first audio
    received: int  # samples of the client
    expires: float  # as `time.time`
    captions: tuple[Caption, Caption]
    to_client: StreamingResampler  # of its speech

    def pack(self) -> bytes:
        """The length of a JSON object, this object, and the stream."""
        speech = self.to_client.get_state()
        recent = base64.b64encode(speech.pop("recent").tobytes()).decode("ascii")
        about = {
            "options": dataclasses.asdict(self.options),
            "received": self.received,
            "expires": self.expires,
            "captions": [caption.begun for caption in self.captions],
            "to_client": {**speech, "recent": recent},
        }
        head = json.dumps(about).encode()
        return len(head).to_bytes(_LENGTH_BYTES, "little") + head + self.stream


def restored(data: bytes, service: Service) -> Moved:
    """The session of `pack`.

    Raises ValueError for other bytes, and for options that the server does not offer.
    """
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    try:
        about: dict[str, Any] = json.loads(data[_LENGTH_BYTES:end])
        options = Options(
            **{**about["options"], "config": SessionConfig(**about["options"]["config"])}
        )
        recent = base64.b64decode(about["to_client"]["recent"])
        speech = {**about["to_client"], "recent": np.frombuffer(recent, np.float32)}
        source, target = map(Caption, about["captions"])
        moved = Moved(
            options,
            data[end:],
            about["received"],
            about["expires"],
            (source, target),
            StreamingResampler.from_state(speech),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no session: {error!r}") from error
    if options.config not in service.variants():
        raise ValueError(f"the server does not offer its options, {options.config}.")
    return moved
