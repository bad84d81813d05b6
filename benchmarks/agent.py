"""The overhead of the SimulEval agent: CPU time of a call, less that of its session.

The shipped model translates a file of ten minutes (the examples, again and again) in segments of
320 ms, as lists of Python floats like those of SimulEval. Some callers append to `states.source`
and call `policy` instead; that is the second figure.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, at_most
from benchmarks.fixtures import EXAMPLES, Bench
from benchmarks.streams import STEP_MS
from benchmarks.timing import Times, take_turns
from echostream.agents import SpeechToTextTranslationAgent
from echostream.agents.states import SpeechSegment
from echostream.frontend.audio import read_audio
from echostream.session.translator import StreamingTranslator
from echostream.streaming import SAMPLE_RATE

# Times the conversion of the list of floats to an array, which every agent needs; the rest of a
# call takes about as long.
MAX_OF_CONVERSION = 5
_SEGMENT = STEP_MS * SAMPLE_RATE // 1000


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    seconds = bench.scale.file_s
    samples = long_recording(seconds)
    agent = make_agent(str(bench.demo_folder))
    last = min(60, seconds)
    against = "the list of floats to an array, by the fastest of two ways"
    floor = conversion_ms(samples)
    target = at_most(MAX_OF_CONVERSION, "ratio")
    figures = []
    for way, call in (
        ("as SimulEval calls it", _pushpop(agent)),
        ("policy, `states.source` grows", _grow(agent)),
    ):
        overhead = overheads(agent, call, samples)
        name = f"agent less session, a call of {STEP_MS} ms, file of {seconds} s, {way}"
        count = max(1, last * SAMPLE_RATE // _SEGMENT)
        times = Times(tuple(overhead[-count:]))
        note = (
            f"last {last} s; first {last} s {np.median(overhead[:count]):.3f} ms, "
            f"longest of all {max(overhead):.1f} ms"
        )
        figures.append(times.figure(name, "ms", 1, floor, against, target, note))
    return figures


def long_recording(seconds: int) -> NDArray[np.float32]:
    """The examples one after the other, (S,) at 16 kHz, as often as needed."""
    parts: list[NDArray[np.float32]] = []
    num_missing = seconds * SAMPLE_RATE
    while num_missing > 0:
        for path in sorted(EXAMPLES.glob("*.flac")):
            samples, _ = read_audio(path)
            parts.append(samples[:num_missing])
            num_missing -= len(samples)
            if num_missing <= 0:
                break
    return np.concatenate(parts)


def make_agent(model_path: str) -> SpeechToTextTranslationAgent:
    """The agent with its default flags."""
    parser = ArgumentParser()
    SpeechToTextTranslationAgent.add_args(parser)
    return SpeechToTextTranslationAgent(parser.parse_args(["--model-path", model_path]))


def conversion_ms(samples: NDArray[np.float32]) -> float:
    """The least time of a segment of Python floats: its conversion to an array."""
    values = samples[:_SEGMENT].tolist()
    ways: dict[str, Callable[[], object]] = {
        "numpy": lambda: np.asarray(values, dtype=np.float32),
        "array": lambda: np.frombuffer(array("f", values), dtype=np.float32),
    }
    return min(one.median for one in take_turns(ways, 5, 10).values())


def overheads(
    agent: SpeechToTextTranslationAgent,
    call: Callable[[list[float], bool], float],
    samples: NDArray[np.float32],
) -> list[float]:
    """The CPU time in ms of each call but the last, less that of the session.

    CPU time, because other programs would disturb the difference of two wall times.
    """
    agent.reset()
    found = []
    with timed_sessions() as in_session:
        for start in range(0, len(samples), _SEGMENT):
            is_last = start + _SEGMENT >= len(samples)
            values = samples[start : start + _SEGMENT].tolist()
            in_session.clear()
            spent = call(values, is_last)
            if not is_last:
                found.append(spent - sum(in_session))
    return found


def _pushpop(agent: SpeechToTextTranslationAgent) -> Callable[[list[float], bool], float]:
    def call(values: list[float], is_last: bool) -> float:
        segment = SpeechSegment(
            content=values, sample_rate=SAMPLE_RATE, finished=is_last, tgt_lang=None
        )
        start = time.thread_time()
        agent.pushpop(segment)
        return 1000 * (time.thread_time() - start)

    return call


def _grow(agent: SpeechToTextTranslationAgent) -> Callable[[list[float], bool], float]:
    def call(values: list[float], is_last: bool) -> float:
        states = agent.states
        states.source_sample_rate = SAMPLE_RATE
        states.source.extend(values)
        states.source_finished = is_last
        start = time.thread_time()
        agent.policy(states)
        return 1000 * (time.thread_time() - start)

    return call


@contextmanager
def timed_sessions() -> Iterator[list[float]]:
    """A list to which each `push` and `finish` of any session adds its CPU time in ms."""
    spent: list[float] = []
    push, finish = StreamingTranslator.push, StreamingTranslator.finish

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            start = time.thread_time()
            try:
                return method(*args, **keywords)
            finally:
                spent.append(1000 * (time.thread_time() - start))

        return call

    StreamingTranslator.push = timed(push)  # type: ignore[method-assign]
    StreamingTranslator.finish = timed(finish)  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        StreamingTranslator.push = push  # type: ignore[method-assign]
        StreamingTranslator.finish = finish  # type: ignore[method-assign]
