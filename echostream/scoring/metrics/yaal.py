"""YAAL, by OmniSTEval, the reference implementation, where it is installed."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from types import ModuleType

from echostream.scoring.timeline import Timeline


def find_omnisteval() -> ModuleType | None:
    """The library, or None where it is not installed.

    Raises ImportError, with the reason, where it is installed and cannot be imported.
    """
    try:
        return importlib.import_module("omnisteval")
    except ModuleNotFoundError as error:
        if error.name != "omnisteval":
            raise
        return None


def mean_yaal(
    timelines: Sequence[Timeline],
    times: Sequence[Sequence[float]],
    omnisteval: ModuleType | None,
) -> float | None:
    """YAAL in ms (Polák et al. 2025, arXiv 2509.17349) of whole utterances with these `times`.

    An utterance whose first word comes after its source has ended does not count: YAAL is not
    defined for it. None without the library, for speech, where the length of a reference is not
    known, and where no utterance counts.
    """
    if omnisteval is None or any(t.reference_units is None or t.durations for t in timelines):
        return None
    instances = [
        omnisteval.Instance(
            # The library counts the words of a reference; ours are counted already.
            reference=" ".join(["word"] * (timeline.reference_units or 0)),
            source_length=timeline.source_ms,
            emission_cu=list(when),
        )
        for timeline, when in zip(timelines, times, strict=True)
    ]
    value = float(omnisteval.YAALScorer(computation_aware=False, is_longform=False)(instances))
    return None if math.isnan(value) else value
