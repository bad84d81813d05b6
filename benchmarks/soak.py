"""An hour of audio through one session: growth of memory, and of the time of a push.

    python -m benchmarks.soak torch MODEL 3600 60 100

is one such process: 3600 s of synthetic audio; resident memory after second 60 and at the end; then
100 pushes of this session and of one that is 10 s old, in turn.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import Figure, Unavailable, at_most, skipped
from benchmarks.fixtures import BACKENDS, NAMES, Bench, export
from benchmarks.memory import memory_mb
from benchmarks.processes import arguments, print_result, run_in_subprocess
from benchmarks.streams import STEP_MS
from benchmarks.synthetic_audio import SyntheticAudio
from benchmarks.timing import Times, sample
from echostream.model_folder import load_model
from echostream.session.translator import StreamingTranslator
from echostream.streaming import SAMPLE_RATE

MAX_GROWTH_MB = 10
MAX_SLOWDOWN = 1.05
YOUNG_S = 10


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group, of the shipped model."""
    figures = []
    scale = bench.scale
    window = 10 * scale.rounds
    long = f"{scale.long_s // 60} minutes" if scale.long_s >= 60 else f"{scale.long_s} s"
    for backend in BACKENDS:
        name = f"session of {long}, demo model, {NAMES[backend]}"
        growth = f"{name}: resident memory at the end less at second {scale.early_s}"
        step = f"{name}: push of {STEP_MS} ms at the end"
        try:
            export(bench.demo_folder, backend)
            sizes = map(str, (scale.long_s, scale.early_s, window))
            found = run_in_subprocess("benchmarks.soak", backend, str(bench.demo_folder), *sizes)
        except Unavailable as error:
            figures.append(skipped(growth, "MB", error, at_most(MAX_GROWTH_MB)))
            figures.append(skipped(step, "ms", error, at_most(MAX_SLOWDOWN, "ratio")))
            continue
        old, young = (Times.of(found[key]) for key in ("old", "young"))
        against = f"the same in a session {YOUNG_S} s old, in turn"
        note = f"{found['early_mb']:.1f} then {found['late_mb']:.1f} MB"
        figures += [
            Figure(
                growth,
                found["late_mb"] - found["early_mb"],
                "MB",
                target=at_most(MAX_GROWTH_MB),
                note=note,
            ),
            old.figure(step, "ms", 1, young.median, against, at_most(MAX_SLOWDOWN, "ratio")),
            Figure(
                f"{name}: state at the end less at second {scale.early_s}",
                found["late_state"] - found["early_state"],
                "bytes",
                target=at_most(0),
                note=f"{found['late_state']:,} bytes at the end",
            ),
        ]
    return figures


class LiveSession:
    """A session with synthetic audio, which is different in each push."""

    def __init__(self, session: StreamingTranslator, seed: int) -> None:
        self.session = session
        self._audio = SyntheticAudio(seed)

    def step(self) -> tuple[float, float]:
        """Wall and CPU time in ms of one push; synthesis is not counted."""
        samples = self._audio.next(STEP_MS * SAMPLE_RATE // 1000)
        return sample(lambda: self.session.push(samples, SAMPLE_RATE))

    def advance_to(self, seconds: int) -> None:
        """Pushes until `seconds` of audio have been pushed since the beginning."""
        while self.session.delay_ms < 1000 * seconds:
            self.step()


def live(backend: str, path: Path, long_s: int, early_s: int, window: int) -> dict[str, Any]:
    """The result of the process."""
    torch.set_num_threads(1)
    model = load_model(path, backend=backend)
    old, young = (LiveSession(StreamingTranslator(model), seed) for seed in (0, 1))
    old.advance_to(early_s)
    gc.collect()
    early_mb, early_state = memory_mb("VmRSS"), old.session.state_nbytes
    old.advance_to(long_s)
    gc.collect()
    late_mb, late_state = memory_mb("VmRSS"), old.session.state_nbytes
    young.advance_to(min(YOUNG_S, early_s))
    times: dict[str, list[tuple[float, float]]] = {"old": [], "young": []}
    for count in range(window):
        turns = [("old", old), ("young", young)]
        for name, stream in turns if count % 2 else reversed(turns):
            times[name].append(stream.step())
    return {
        "early_mb": early_mb,
        "late_mb": late_mb,
        "early_state": early_state,
        "late_state": late_state,
        **times,
    }


def main(argv: Sequence[str]) -> None:
    """One process."""
    args = arguments(argv, "backend", "path", "long_s", "early_s", "window")
    sizes = (int(args.long_s), int(args.early_s), int(args.window))
    print_result(lambda: live(args.backend, Path(args.path), *sizes))


if __name__ == "__main__":
    main(sys.argv[1:])
