"""The output of a session as events of the realtime-translation protocol."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echostream.frontend.resample import StreamingResampler
from echostream.server.caption import Caption
from echostream.server.events import CLIENT_RATE, base64_pcm16, event
from echostream.session.stream import Output
from echostream.streaming import SAMPLE_RATE

_SPEECH = {"sample_rate": CLIENT_RATE, "channels": 1, "format": "pcm16"}


class Deltas:
    """Makes events of outputs, one after the other: both texts, and speech at 24 kHz.

    Each method returns an event as text, or None if there is nothing new.
    """

    def __init__(self) -> None:
        self._source, self._target = Caption(), Caption()
        self._resampler = StreamingResampler(SAMPLE_RATE, CLIENT_RATE)

    def source(self, output: Output, latency: Mapping[str, float]) -> str | None:
        """New source words."""
        delta = self._source.delta(output.source_words, output.source_unit)
        return _transcript("session.input_transcript.delta", delta, output, latency)

    def target(self, output: Output, latency: Mapping[str, float]) -> str | None:
        """New words of the translation."""
        delta = self._target.delta(output.words, output.unit)
        return _transcript("session.output_transcript.delta", delta, output, latency)

    def speech(self, output: Output) -> str | None:
        """New speech of the translation."""
        if not len(output.samples):
            return None
        return _audio(self._resampler.push(output.samples), round(output.delay_ms))

    def last_speech(self) -> str | None:
        """What the resampler has kept, after the last output."""
        return _audio(self._resampler.finish(), None)

    def get_state(self) -> dict[str, Any]:
        """All that the events to come depend on, as JSON can hold it."""
        speech = self._resampler.get_state()
        recent = base64.b64encode(speech.pop("recent").tobytes()).decode("ascii")
        begun = [self._source.begun, self._target.begun]
        return {"captions": begun, "to_client": {**speech, "recent": recent}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Deltas:
        """The deltas of `get_state`. Raises KeyError, TypeError or ValueError for another value."""
        recent = np.frombuffer(base64.b64decode(state["to_client"]["recent"]), np.float32)
        made = cls()
        made._source, made._target = map(Caption, state["captions"])
        made._resampler = StreamingResampler.from_state({**state["to_client"], "recent": recent})
        return made


def _transcript(kind: str, delta: str, output: Output, latency: Mapping[str, float]) -> str | None:
    if not delta:
        return None
    return event(kind, delta=delta, elapsed_ms=round(output.delay_ms), latency=latency)


def _audio(samples: NDArray[np.float32], elapsed_ms: int | None) -> str | None:
    """Samples (S,) at 24 kHz."""
    if not len(samples):
        return None
    delta = base64_pcm16(samples)
    return event("session.output_audio.delta", delta=delta, elapsed_ms=elapsed_ms, **_SPEECH)
