"""Times of things that take turns, so that whatever else the machine does falls on all alike.

A sample in which the thread waited for the processor (its CPU time is less than 95 % of the time
that passed) tells of other programs and is dropped; how many were is said beside the median. Where
hardly any is left, the CPU times of all are taken instead, which is said, too.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.figures import Figure, Target

MIN_CPU_SHARE = 0.95
# With fewer samples left than this share, there are more rounds; after them, CPU time counts.
_MIN_KEPT = 0.25
_MOST_ROUNDS = 2  # times as many as asked for


@dataclass(frozen=True)
class Times:
    """Times of one subject in ms, and the number of samples that were dropped."""

    ms: tuple[float, ...]
    num_dropped: int = 0
    is_cpu_time: bool = False  # hardly any sample was undisturbed

    @classmethod
    def of(cls, samples: list[tuple[float, float]]) -> Times:
        """From pairs of wall time and CPU time, in ms."""
        kept = _undisturbed(samples)
        if _are_too_few(kept, samples):
            return cls(tuple(cpu for _, cpu in samples), 0, True)
        return cls(tuple(kept), len(samples) - len(kept))

    @property
    def median(self) -> float:
        """Half of the samples took less, in ms."""
        return float(np.median(self.ms))

    def percentile(self, percent: float) -> float:
        """The time in ms that this share of the samples did not exceed."""
        return float(np.percentile(self.ms, percent))

    def figure(
        self,
        name: str,
        unit: str = "ms",
        scale: float = 1.0,
        floor: float | None = None,
        against: str = "",
        target: Target | None = None,
        note: str = "",
    ) -> Figure:
        """The median times `scale` as a figure; `floor` is in the unit of the result."""
        count = f"median of {len(self.ms)}"
        if self.num_dropped:
            count += f" ({self.num_dropped} more were pre-empted)"
        if self.is_cpu_time:
            count += " CPU times, because other programs held the core most of the time"
        return Figure(
            name,
            scale * self.median,
            unit,
            floor,
            against,
            target,
            low=scale * self.percentile(10),
            high=scale * self.percentile(90),
            note="; ".join(filter(None, [count, note])),
        )


def _undisturbed(samples: list[tuple[float, float]]) -> list[float]:
    return [wall for wall, cpu in samples if cpu >= MIN_CPU_SHARE * wall]


def _are_too_few(kept: list[float], samples: list[tuple[float, float]]) -> bool:
    return len(kept) < max(1, _MIN_KEPT * len(samples))


def sample(call: Callable[[], object]) -> tuple[float, float]:
    """Wall time and CPU time in ms of one call in this thread."""
    cpu, wall = time.thread_time(), time.perf_counter()
    call()
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    return 1000 * wall, 1000 * cpu


def take_turns(
    subjects: Mapping[str, Callable[[], object]],
    rounds: int,
    in_a_row: int = 3,
    untimed: int = 1,
) -> dict[str, Times]:
    """Times of every subject.

    In each round each subject is called `untimed` times, which brings what it needs into the
    caches, and then `in_a_row` times. Who begins changes from round to round. There are up to twice
    as many rounds where too many samples are disturbed.
    """
    samples = sample_in_turn(subjects, rounds, in_a_row, untimed)
    return {name: Times.of(found) for name, found in samples.items()}


def sample_in_turn(
    subjects: Mapping[str, Callable[[], object]], rounds: int, in_a_row: int, untimed: int
) -> dict[str, list[tuple[float, float]]]:
    """What `take_turns` makes times of: pairs of wall time and CPU time, in ms."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
    gc.collect()
    gc.freeze()  # what an export left behind, millions of objects, is not looked at in every round
    was_enabled = gc.isenabled()
    gc.disable()  # or one subject pays for the garbage of another
    try:
        for count in range(_MOST_ROUNDS * rounds):
            disturbed = (_are_too_few(_undisturbed(found), found) for found in samples.values())
            if count >= rounds and not any(disturbed):
                break
            order = list(subjects.items())
            for name, call in order if count % 2 else reversed(order):
                for _ in range(untimed):
                    call()
                samples[name] += [sample(call) for _ in range(in_a_row)]
            gc.collect()
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
    return samples
