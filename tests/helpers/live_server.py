"""`echostream serve` in a process of its own, its stock client, and the words it should give."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openai import AsyncOpenAI
from servers import free_port, running

from echostream.model_folder import load_model
from echostream.session.translator import StreamingTranslator, joined_source_text, joined_text

CLIENT_RATE = 24_000


@dataclass
class Received:
    """All that a client received."""

    source: str = ""
    target: str = ""
    speech: bytes = b""
    elapsed: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    errors: list[Any] = field(default_factory=list)

    def add(self, event: Any) -> None:
        self.kinds.append(event.type)
        if event.type == "session.input_transcript.delta":
            self.source += event.delta
        elif event.type == "session.output_transcript.delta":
            self.target += event.delta
            self.elapsed.append(event.elapsed_ms)
        elif event.type == "session.output_audio.delta":
            self.speech += base64.b64decode(event.delta)
        elif event.type == "error":
            self.errors.append(event.error)


@contextmanager
def live_server(model: Path, folder: Path, *flags: str) -> Iterator[int]:
    """A server of a model; its port. Its log is `folder`/serve.log."""
    port = free_port()
    with running(serve_command(model, port, *flags), port, folder / "serve.log"):
        yield port


def serve_command(model: Path, port: int, *flags: str) -> list[str]:
    """The command of a server."""
    command = [sys.executable, "-m", "echostream", "serve", str(model), "--host", "localhost"]
    return [*command, "--port", str(port), *flags]


def pcm(samples: NDArray[np.float32]) -> bytes:
    """Samples (S,) as PCM16."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def as_samples(data: bytes) -> NDArray[np.float32]:
    """The samples that a server makes of PCM16."""
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


def expected(model: Path, data: bytes, rate: int, **options: Any) -> tuple[str, str]:
    """Source text and translation of a whole recording, by a session of its own."""
    session = StreamingTranslator(load_model(model), transcript=True, **options)
    outputs = [*session.push(as_samples(data), rate), *session.finish()]
    return joined_source_text(outputs), joined_text(outputs)


def connection(port: int, model: Path, key: str = "none") -> Any:
    """A connection of the stock SDK; to be used with `async with`."""
    client = AsyncOpenAI(base_url=f"http://localhost:{port}/v1", api_key=key, max_retries=0)
    return client.realtime.translations.connect(model=model.name)


def append(data: bytes) -> str:
    """The `audio` of a message."""
    return base64.b64encode(data).decode()


async def translate(
    port: int, model: Path, data: bytes, updates: Sequence[dict[str, Any]] = (), piece: int = 9600
) -> Received:
    """Sends a recording (PCM16 at 24 kHz) as fast as it is taken; all that came back."""
    got = Received()
    async with connection(port, model) as link:
        await link.session.update(session={"audio": {"input": {"transcription": {"model": "any"}}}})
        for update in updates:
            await link.session.update(session=update)
        for start in range(0, len(data), piece):
            await link.session.input_audio_buffer.append(audio=append(data[start : start + piece]))
        await link.session.close()
        async for event in link:
            got.add(event)
            if event.type == "session.closed":
                break
    return got
