"""Silences between one write of speech and the next, as SimulEval counts them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import NamedTuple

from echostream.scoring.metrics.table import playback_ends
from echostream.scoring.timeline import Timeline

# The names of the fields of `Discontinuity` in tables.
DISCONTINUITY_COLUMNS = ("DiscontinuitySum", "DiscontinuityAve", "DiscontinuityNum")


class Discontinuity(NamedTuple):
    """Means over utterances: all silence of one, its average silence (ms), and their number."""

    total: float
    average: float
    number: float


def gaps(timeline: Timeline) -> list[float]:
    """The silences of one utterance, in ms."""
    ends = playback_ends(timeline)
    waits = [delay - end for delay, end in zip(timeline.delays[1:], ends, strict=False)]
    return [wait for wait in waits if wait > 0]


def discontinuity(timelines: Sequence[Timeline]) -> Discontinuity | None:
    """SimulEval's DiscontinuitySum, -Ave and -Num; None if there is no utterance."""
    if not timelines:
        return None
    found = [gaps(timeline) for timeline in timelines]
    return Discontinuity(
        mean(sum(one) for one in found),
        mean(sum(one) / len(one) if one else 0.0 for one in found),
        mean(len(one) for one in found),
    )
