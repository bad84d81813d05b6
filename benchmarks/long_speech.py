"""Ten minutes of a talk to speech: the time of a push, memory, and the longest backlog.

    python -m benchmarks.long_speech MODEL ctc 0 600 60

is one such process: the examples one after the other, with pauses, to second 600; resident memory
after second 60 and at the end. In the last 60 s a session that begins is given the same audio as
the old one in turn, so that its first minute is timed beside the last.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.figures import Figure, at_most
from benchmarks.fixtures import EXAMPLES, NAMES, Bench
from benchmarks.memory import memory_mb
from benchmarks.processes import arguments, print_result, run_in_subprocess
from benchmarks.soak import MAX_GROWTH_MB, MAX_SLOWDOWN
from benchmarks.streams import STEP_MS
from benchmarks.timing import Times, sample
from echostream.frontend.audio import read_audio
from echostream.model_folder import load_model
from echostream.session.speech_queue import FAST, MAX_BACKLOG
from echostream.session.translator import StreamingTranslator
from echostream.streaming import SAMPLE_RATE

METHODS = (("ctc", 0), ("decoder", 1))
PAUSE_S = 0.7


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group, of the shipped model."""
    figures = []
    last_s = min(60, bench.scale.talk_s // 2)
    for method, lagging in METHODS:
        sizes = map(str, (lagging, bench.scale.talk_s, last_s))
        found = run_in_subprocess(
            "benchmarks.long_speech", str(bench.speaking_folder), method, *sizes
        )
        name = f"{bench.scale.talk_s} s of a talk to speech, demo model, {method}, {NAMES['torch']}"
        old, young = (Times.of(found[key]) for key in ("old", "young"))
        figures += [
            old.figure(
                *(f"{name}: push of {STEP_MS} ms in the last {last_s} s", "ms", 1, young.median),
                f"the same in a session that begins, in turn, the same {last_s} s of audio",
                at_most(MAX_SLOWDOWN, "ratio"),
            ),
            Figure(
                f"{name}: resident memory at the end less at second {last_s}",
                found["late_mb"] - found["early_mb"],
                "MB",
                target=at_most(MAX_GROWTH_MB),
                note=f"{found['early_mb']:.1f} then {found['late_mb']:.1f} MB",
            ),
            Figure(
                f"{name}: state at the end less second {last_s}",
                *(found["late_state"] - found["early_state"], "bytes"),
                target=at_most(0),
                note=f"{found['late_state']:,} bytes at the end",
            ),
            Figure(
                f"{name}: longest backlog",
                *(found["longest_ms"] / 1000, "s of speech"),
                target=at_most(MAX_BACKLOG / SAMPLE_RATE),
                note=f"words up to {FAST} times as fast, at most {found['most_waiting']} wait; "
                f"{found['spoken_s']:.0f} s of speech",
            ),
        ]
    return figures


def talk(seconds: int) -> NDArray[np.float32]:
    """The example recordings, one after the other with pauses, from the first one on again."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.float32)
    paths = sorted(EXAMPLES.glob("*.flac"))
    recordings = [part for path in paths for part in (read_audio(path)[0], pause)]
    return np.resize(np.concatenate(recordings), seconds * SAMPLE_RATE)


class Listener:
    """A session, and what came out of it."""

    def __init__(self, session: StreamingTranslator) -> None:
        self.session = session
        self.most_waiting = 0  # words
        self.num_samples = 0

    def push(self, samples: NDArray[np.float32]) -> None:
        """One push of a segment."""
        outputs = self.session.push(samples, SAMPLE_RATE)
        self.num_samples += sum(len(output.samples) for output in outputs)
        self.most_waiting = max(self.most_waiting, self.session.words_waiting)


def live(path: Path, method: str, lagging: int, long_s: int, last_s: int) -> dict[str, Any]:
    """The result of the process."""
    torch.set_num_threads(1)
    model = load_model(path)
    options = {"decoding_method": method, "lagging_k1": lagging}
    old, young = (Listener(StreamingTranslator(model, speech=True, **options)) for _ in range(2))
    first = segments(talk(last_s))
    between = segments(talk(long_s - last_s)[len(first) * len(first[0]) :])
    for part in first:
        old.push(part)
    gc.collect()
    early_mb, early_state = memory_mb("VmRSS"), old.session.state_nbytes
    for part in between:
        old.push(part)
    times: dict[str, list[tuple[float, float]]] = {"old": [], "young": []}
    for count, part in enumerate(first):
        turns = [("old", old), ("young", young)]
        for name, listener in turns if count % 2 else reversed(turns):
            times[name].append(sample(lambda push=listener.push, part=part: push(part)))
    gc.collect()
    late_mb = memory_mb("VmRSS")
    return {
        "early_mb": early_mb,
        "late_mb": late_mb,
        "early_state": early_state,
        "late_state": old.session.state_nbytes,
        "longest_ms": old.session.longest_backlog_ms,
        "most_waiting": old.most_waiting,
        "spoken_s": old.num_samples / SAMPLE_RATE,
        **times,
    }


def segments(samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Whole segments of 320 ms."""
    size = STEP_MS * SAMPLE_RATE // 1000
    return list(samples[: len(samples) // size * size].reshape(-1, size))


def main(argv: Sequence[str]) -> None:
    """One process."""
    args = arguments(argv, "path", "method", "lagging", "long_s", "last_s")
    sizes = (int(args.lagging), int(args.long_s), int(args.last_s))
    print_result(lambda: live(Path(args.path), args.method, *sizes))


if __name__ == "__main__":
    main(sys.argv[1:])
