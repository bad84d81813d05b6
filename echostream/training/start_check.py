"""Check before a run of how many utterances of a table are too short for their text."""

from __future__ import annotations

import logging

from echostream.config import ConfigError
from echostream.data.lengths import is_long_enough, num_frames
from echostream.streaming.clock import SAMPLE_RATE
from echostream.training.example import ExampleMaker
from echostream.training.sources import Speech, TableSpeech

_MOST_ROWS = 20_000  # that are looked at, evenly spread

logger = logging.getLogger(__name__)


def check_lengths(speech: Speech, make: ExampleMaker, max_lost: float) -> None:
    """Warns of utterances that will be left out as too short, by the durations in the table.

    Raises ConfigError if their share is more than `max_lost`.
    """
    if not isinstance(speech, TableSpeech):
        return
    looked_at = range(0, speech.num_rows, -(-speech.num_rows // _MOST_ROWS))
    rows = [row for row in map(speech.row, looked_at) if row.seconds is not None]
    tail_ms = 1000 * len(make.tail) // SAMPLE_RATE
    short = []
    for row in rows:
        pieces = max(
            len(tokenizer.encode(text))
            for text, tokenizer in (
                (row.source or "", make.source_tokenizer),
                (row.target or "", make.target_tokenizer),
            )
        )
        if not is_long_enough(num_frames(row.seconds or 0.0, tail_ms), pieces):
            short.append(row.id)
    if not short:
        return
    text = (
        f"{len(short)} of {len(rows)} utterances of `data.train_tsv` are too short for their own "
        "text (there must be two encoder frames, 80 ms, for every piece), the first: "
        f"{short[0][:80]}. A larger vocabulary has fewer pieces."
    )
    if len(short) > max_lost * len(rows):
        raise ConfigError(f"{text} `data.max_lost` allows {max_lost:g} of them.")
    logger.warning("%s They are left out.", text)
