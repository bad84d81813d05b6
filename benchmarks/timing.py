"""Times of calls that are timed in turn, so that other load on the machine affects all alike.

A sample in which the thread waited for the processor (its CPU time is less than 95 % of the wall
time) is dropped, and the number of dropped ones is noted beside the median. If hardly any is left,
the CPU times of all samples are used instead, which is noted too.
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
_MOST_ROUNDS = 2  # times `rounds`


@dataclass(frozen=True)
class Times:
    """Times of one call in ms, and the number of dropped samples."""

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
        """The median in ms."""
        return float(np.median(self.ms))

    def percentile(self, percent: float) -> float:
        """A percentile in ms."""
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
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    in_a_row: int = 3,
    untimed: int = 1,
) -> dict[str, Times]:
    """Times of every call.

    In each round each call is made `untimed` times, which fills the caches, and then `in_a_row`
    times. The order is reversed from round to round. There are up to twice as many rounds if too
    many samples are disturbed.
    """
    samples = sample_in_turn(calls, rounds, in_a_row, untimed)
    return {name: Times.of(found) for name, found in samples.items()}


def sample_in_turn(
    calls: Mapping[str, Callable[[], object]], rounds: int, in_a_row: int, untimed: int
) -> dict[str, list[tuple[float, float]]]:
    """The samples of `take_turns`: pairs of wall time and CPU time, in ms."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    gc.collect()
    gc.freeze()  # an export leaves millions of objects, which each collection would visit
    was_enabled = gc.isenabled()
    gc.disable()  # or one call is charged for the garbage of another
    try:
        for count in range(_MOST_ROUNDS * rounds):
            disturbed = (_are_too_few(_undisturbed(found), found) for found in samples.values())
            if count >= rounds and not any(disturbed):
                break
            order = list(calls.items())
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
