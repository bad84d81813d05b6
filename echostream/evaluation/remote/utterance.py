"""One utterance with a remote agent, and the line that SimulEval's own run would log for it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import soundfile

from echostream.evaluation.remote.agent import RemoteAgent, RemoteError, Reply

logger = logging.getLogger(__name__)

_SPLIT: dict[str, Callable[[str], list[str]]] = {
    "word": str.split,
    "char": lambda text: list(text.replace(" ", "")),
}
WORD_MARK = "\N{LOWER ONE EIGHTH BLOCK}"  # begins a word in SentencePiece's pieces
MAX_CALLS_AFTER_END = 100


def evaluate(
    agent: RemoteAgent,
    index: int,
    recording: str,
    reference: str,
    segment_ms: int,
    unit: str = "word",
) -> dict[str, Any]:
    """Plays a recording to the agent, segment by segment; the entry of instances.log.

    Segments, delays and the order of calls are those of SimulEval's local run. `elapsed` is
    measured here: computing and network since the first segment was sent, plus the audio heard.
    With the `unit` char each character has its times, and spaces are left out, as SimulEval does.

    Raises `RemoteError` if the agent goes on for ever after the end of its source, and OSError if
    the recording cannot be read.
    """
    try:
        samples, rate = soundfile.read(recording, dtype="float32")
    except soundfile.LibsndfileError as error:  # its header was looked at before, its end was not
        raise OSError(f"{recording}: cannot be read: {error}") from error
    except MemoryError:  # what its header claims
        raise OSError(f"{recording}: cannot be read: it is too long for the memory") from None
    size = math.ceil(segment_ms / 1000 * rate)
    agent.reset()
    heard = _Hypothesis(recording, unit)
    for start in range(0, len(samples), size):
        end = min(start + size, len(samples))
        at_ms = end * 1000 / rate
        finished = end == len(samples)
        heard.take(agent.hear(samples[start:end].tolist(), rate, at_ms, finished), at_ms)
        if heard.finished and not finished:
            agent.reset()  # as SimulEval does, for agents that close a sentence inside a recording
    length_ms = len(samples) * 1000 / rate
    for _ in range(MAX_CALLS_AFTER_END):
        if heard.finished:
            break
        heard.take(agent.hear_nothing(length_ms), length_ms)
    else:
        raise RemoteError(
            f"{recording}: the agent has not finished after {MAX_CALLS_AFTER_END} more calls "
            "beyond the end of its source."
        )
    return {
        "index": index,
        "prediction": _join(heard.tokens, unit),
        "delays": heard.delays,
        "elapsed": heard.elapsed,
        "prediction_length": len(heard.tokens),
        "reference": reference,
        "source": str(soundfile.info(recording)).split("\n"),
        "source_length": length_ms,
    }


class _Hypothesis:
    """The tokens of an utterance, each with the time at which it came."""

    def __init__(self, recording: str, unit: str) -> None:
        self.recording = recording
        self._split = _SPLIT[unit]
        self.tokens: list[str] = []
        self.delays: list[float] = []
        self.elapsed: list[float] = []
        self.finished = False
        self._started = time.perf_counter()

    def take(self, reply: Reply, at_ms: float) -> None:
        """Notes a reply as SimulEval does."""
        spent_ms = 1000 * (time.perf_counter() - self._started)
        tokens = self._split(reply.text)
        if self.finished and tokens:
            logger.warning(
                "%s: dropped %r, which came right after the agent had said that it is finished; "
                "SimulEval drops it, too.",
                *(self.recording, reply.text),
            )
            tokens = []
        self.finished = reply.finished
        self.tokens += tokens
        self.delays += [at_ms] * len(tokens)
        self.elapsed += [at_ms + spent_ms] * len(tokens)


def _join(tokens: list[str], unit: str) -> str:
    if unit == "char":
        return "".join(tokens)
    # StreamSpeech's SimulEval is sent pieces; every other build, words.
    if any(WORD_MARK in token for token in tokens):
        return "".join(tokens).replace(WORD_MARK, " ").strip()
    return " ".join(tokens)
