"""Is a run simultaneous at all? A test of its policy from the times of its words.

A policy that stays a steady time behind the speaker leaves a predictable share of its words for
after the end: if the lag is a quarter of the source, about three quarters of the words come
while the speaker talks. Two figures, both in percent, must therefore be close:

simultaneous: words written before the source had ended, of all words of the run;
expected: source left over when each utterance is shortened by its lag, of all source. The lag is
    YAAL: LAAL over the words before the end of the source alone.

They differ if a policy writes a burst early and the rest at the end, or the reverse; its mean lag
then describes neither part. The test and its limit of 20 points are
those of OmniSTEval ("degenerate simultaneous policy"), the reasons in Polák et al. 2025,
"Better Late Than Never: Evaluation of Latency Metrics for Simultaneous Speech-to-Text
Translation" (arXiv 2509.17349).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from echostream.scoring.timeline import Timeline

LIMIT = 20.0  # percentage points


class Degeneracy(NamedTuple):
    """The two figures in percent; NaN without output, or without output before the end."""

    simultaneous: float
    expected: float

    @property
    def is_offline(self) -> bool:
        """No word came before its source had ended."""
        return self.simultaneous == 0

    @property
    def is_degenerate(self) -> bool:
        """The two differ by more than the limit. An offline run is not called so."""
        return abs(self.expected - self.simultaneous) > LIMIT


def degeneracy(timelines: Iterable[Timeline]) -> Degeneracy:
    """The test of one run; utterances without a word do not count."""
    before_end = words = 0
    left_ms = source_ms = 0.0
    for timeline in timelines:
        before_end += sum(time < timeline.source_ms for time in timeline.delays)
        words += len(timeline.delays)
        lag = _lag_before_end(timeline.delays, timeline.source_ms, timeline.reference_units)
        if lag is not None:
            left_ms += max(0.0, timeline.source_ms - lag)
            source_ms += timeline.source_ms
    return Degeneracy(
        100 * before_end / words if words else math.nan,
        100 * left_ms / source_ms if source_ms else math.nan,
    )


def _lag_before_end(
    times: Sequence[float], source_ms: float, reference_units: int | None
) -> float | None:
    share = source_ms / max(len(times), reference_units or 0, 1)
    lags = [time - i * share for i, time in enumerate(times)]
    # The first word at or after the end of the source ends the count, as it does in AL.
    count = next((i for i, time in enumerate(times) if time >= source_ms), len(times))
    return sum(lags[:count]) / count if count else None
