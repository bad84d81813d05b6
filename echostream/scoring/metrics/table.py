"""All latency metrics of a run: the mean over its utterances, plain and computation-aware."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from types import ModuleType

from echostream.scoring.metrics.atd import speech_token_delay, text_token_delay
from echostream.scoring.metrics.latency import LATENCY_METRICS
from echostream.scoring.metrics.offsets import end_offset, start_offset
from echostream.scoring.metrics.yaal import mean_yaal
from echostream.scoring.timeline import Timeline

# In the order of the tables. YAAL needs OmniSTEval.
NAMES = ("AL", "LAAL", "YAAL", "AP", "DAL", "ATD", "StartOffset", "EndOffset")
COMPUTATION_AWARE = "_CA"
_ANY_LENGTH = 1  # for DAL, which checks the length of the reference and does not use it


def measure(
    timelines: Sequence[Timeline], omnisteval: ModuleType | None
) -> dict[str, float | None]:
    """Every metric of `NAMES` and, with `_CA` behind its name, its computation-aware value.

    None if undefined: no utterance, unknown length of a reference, no times with compute. A mean
    is over all utterances or not given.
    """
    values: dict[str, float | None] = dict.fromkeys(
        f"{name}{suffix}" for suffix in ("", COMPUTATION_AWARE) for name in NAMES
    )
    if not timelines:
        return values
    values |= _measure(timelines, [t.delays for t in timelines])
    values["YAAL"] = mean_yaal(timelines, [t.delays for t in timelines], omnisteval)
    values["ATD"] = mean(_token_delay(t) for t in timelines)
    values["EndOffset"] = mean(end_offset(playback_ends(t), t.source_ms) for t in timelines)
    if all(t.elapsed for t in timelines):
        elapsed = [t.elapsed for t in timelines]
        values |= {
            name + COMPUTATION_AWARE: value for name, value in _measure(timelines, elapsed).items()
        }
        values["YAAL" + COMPUTATION_AWARE] = mean_yaal(timelines, elapsed, omnisteval)
        values["ATD" + COMPUTATION_AWARE] = mean(
            text_token_delay(t.delays, t.elapsed) for t in timelines
        )
        values["EndOffset" + COMPUTATION_AWARE] = mean(
            end_offset(t.elapsed, t.source_ms) for t in timelines
        )
    return values


def compute_rtf(timelines: Sequence[Timeline]) -> float | None:
    """Seconds of compute per second of audio, until the last word; None without `elapsed`."""
    if not timelines or not all(t.elapsed for t in timelines):
        return None
    compute_ms = sum(t.elapsed[-1] - t.delays[-1] for t in timelines)
    return compute_ms / sum(t.source_ms for t in timelines)


def _measure(
    timelines: Sequence[Timeline], times: Sequence[tuple[float, ...]]
) -> dict[str, float | None]:
    values: dict[str, float | None] = {"StartOffset": mean(start_offset(t) for t in times)}
    for name, metric in LATENCY_METRICS.items():
        units = [_ANY_LENGTH if name == "DAL" else t.reference_units for t in timelines]
        found = [
            metric(unit_times, t.source_ms, number)
            for t, unit_times, number in zip(timelines, times, units, strict=True)
            if number is not None
        ]
        values[name] = mean(found) if len(found) == len(timelines) else None
    return values


def _token_delay(timeline: Timeline) -> float:
    if timeline.durations:
        return speech_token_delay(timeline.delays, timeline.durations)
    return text_token_delay(timeline.delays)


def playback_ends(timeline: Timeline) -> list[float]:
    """When each unit has been played; speech plays one write after the other."""
    if not timeline.durations:
        return list(timeline.delays)
    ends, end = [], 0.0
    for delay, duration in zip(timeline.delays, timeline.durations, strict=True):
        end = max(end, delay) + duration
        ends.append(end)
    return ends
