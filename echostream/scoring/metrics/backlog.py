"""The backlog: speech that has been written and not yet played, as SimulEval plays it.

A write is played when it is there and the one before has ended. So the backlog is longest right
after a write, and falls until the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import NamedTuple

from echostream.scoring.metrics.table import playback_ends
from echostream.scoring.timeline import Timeline


class Backlog(NamedTuple):
    """The backlog of one utterance, in ms."""

    longest: float
    at_end: float  # what is still to be played when the source ends: its EndOffset, or nothing


class RunBacklog(NamedTuple):
    """The backlog of a run in ms: the mean over utterances, and the largest."""

    longest: float
    longest_max: float
    at_end: float
    at_end_max: float


# The names of the fields of `RunBacklog` in tables.
BACKLOG_COLUMNS = ("BacklogLongest", "BacklogLongestMax", "BacklogEnd", "BacklogEndMax")


def backlog(timeline: Timeline) -> Backlog:
    """The backlog of an utterance of speech; nothing if nothing was written."""
    ends = playback_ends(timeline)
    waits = [end - delay for delay, end in zip(timeline.delays, ends, strict=True)]
    last = ends[-1] if ends else 0.0
    return Backlog(max(waits, default=0.0), max(0.0, last - timeline.source_ms))


def run_backlog(timelines: Sequence[Timeline]) -> RunBacklog | None:
    """The backlog over the utterances of a run; None if there is none."""
    if not timelines:
        return None
    longest, at_end = zip(*map(backlog, timelines), strict=True)
    return RunBacklog(mean(longest), max(longest), mean(at_end), max(at_end))
