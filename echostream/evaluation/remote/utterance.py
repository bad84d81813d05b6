"""One utterance with a remote agent, logged as by a local run of SimulEval."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import soundfile

from echostream.evaluation.remote.agent import RemoteAgent, RemoteError, Reply
from echostream.text.tokenizer import WORD_START

logger = logging.getLogger(__name__)

_SPLIT: dict[str, Callable[[str], list[str]]] = {
    "word": str.split,
    "char": lambda text: list(text.replace(" ", "")),
}
MAX_CALLS_AFTER_END = 100


def evaluate(
    agent: RemoteAgent,
    index: int,
    recording: str,
    reference: str,
    segment_ms: int,
    unit: str = "word",
) -> dict[str, Any]:
    """Sends a recording to the agent, segment by segment; returns the object for instances.log.

    Segments, delays and the order of calls are those of SimulEval's local run. `elapsed` is
    measured here: compute and network since the first segment was sent, plus the audio sent. With
    the `unit` char each character has its times, and spaces are left out, as in SimulEval.

    Raises `RemoteError` if the agent does not finish after the end of its source, and OSError if
    the recording cannot be read.
    """
    try:
        samples, rate = soundfile.read(recording, dtype="float32")
    except soundfile.LibsndfileError as error:  # only its header was checked before
        raise OSError(f"{recording}: cannot be read: {error}") from error
    except MemoryError:  # of the length in its header
        raise OSError(f"{recording}: cannot be read: it is too long for the memory") from None
    size = math.ceil(segment_ms / 1000 * rate)
    agent.reset()
    hypothesis = _Hypothesis(recording, unit)
    for start in range(0, len(samples), size):
        end = min(start + size, len(samples))
        at_ms = end * 1000 / rate
        finished = end == len(samples)
        hypothesis.append(agent.push(samples[start:end].tolist(), rate, at_ms, finished), at_ms)
        if hypothesis.finished and not finished:
            agent.reset()  # as SimulEval does, for agents that finish a sentence inside a recording
    length_ms = len(samples) * 1000 / rate
    for _ in range(MAX_CALLS_AFTER_END):
        if hypothesis.finished:
            break
        hypothesis.append(agent.push_end(length_ms), length_ms)
    else:
        raise RemoteError(
            f"{recording}: the agent has not finished after {MAX_CALLS_AFTER_END} more calls "
            "beyond the end of its source."
        )
    return {
        "index": index,
        "prediction": _join(hypothesis.tokens, unit),
        "delays": hypothesis.delays,
        "elapsed": hypothesis.elapsed,
        "prediction_length": len(hypothesis.tokens),
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

    def append(self, reply: Reply, at_ms: float) -> None:
        """Adds the tokens of a reply, as SimulEval does."""
        spent_ms = 1000 * (time.perf_counter() - self._started)
        tokens = self._split(reply.text)
        if self.finished and tokens:
            logger.warning(
                "%s: dropped %r, which came right after the agent had finished the utterance; "
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
    # Agents write pieces for StreamSpeech's SimulEval and words for every other build.
    if any(WORD_START in token for token in tokens):
        return "".join(tokens).replace(WORD_START, " ").strip()
    return " ".join(tokens)
