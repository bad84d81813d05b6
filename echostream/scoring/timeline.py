"""When the units of one utterance came out, and what they are measured against."""

from __future__ import annotations

from typing import NamedTuple


class Timeline(NamedTuple):
    """One utterance as the latency metrics see it; times and lengths in ms.

    A unit is what one delay stands for: a word, a SentencePiece piece, a character, or one write
    of speech.
    """

    delays: tuple[float, ...]  # source heard when each unit was written
    elapsed: tuple[float, ...]  # the same plus compute; empty where the log has none
    source_ms: float
    reference_units: int | None  # None where the log does not tell
    durations: tuple[float, ...] = ()  # of the writes, for speech
