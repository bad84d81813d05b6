"""StartOffset and EndOffset of one utterance, in ms, as in SimulEval.

times: when each target word was written, in ms: `delays` for the plain value, `elapsed` for the
    computation-aware one. Both functions raise ValueError if there is no word.
"""

from __future__ import annotations

from collections.abc import Sequence


def start_offset(times: Sequence[float]) -> float:
    """Time of the first word."""
    _check(times)
    return times[0]


def end_offset(times: Sequence[float], source_ms: float) -> float:
    """Time from the end of the source to the last word; negative if it was before."""
    _check(times)
    return times[-1] - source_ms


def _check(times: Sequence[float]) -> None:
    if not times:
        raise ValueError("`times` must hold at least one word, but is empty instead.")
