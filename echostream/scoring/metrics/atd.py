"""Average Token Delay of one utterance, in ms (Kano et al. 2023, arXiv 2211.13173).

The source is cut into tokens of 300 ms, anew in every stretch between two writes. Each target
token has one source token as its partner: the one of the same place, moved back by as many
tokens as earlier writes held more than the source read until then, and at most the last one read.
Its delay is the time from the end of the partner to its own end. Unlike AL, the metric grows with
the duration of the output itself.

The conventions are those of SimulEval's scorer, so that its column and ours are the same number
where it scores the output as what it is: text tokens take no time, speech is cut into tokens of 300
ms.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise, repeat
from operator import itemgetter
from typing import NamedTuple

TOKEN_MS = 300


class _Token(NamedTuple):
    delay: float  # source read when it was written
    length: float  # its own duration
    compute: float = 0.0  # time spent on it alone


def text_token_delay(delays: Sequence[float], elapsed: Sequence[float] | None = None) -> float:
    """ATD of text. With `elapsed`, each token also takes the compute since the one before it.

    Raises ValueError when there is no token, when delays go back, or when `elapsed` is not as
    long as `delays`.
    """
    _check(delays)
    if elapsed is None:
        return _mean_delay([_Token(delay, 0.0) for delay in delays])
    if len(elapsed) != len(delays):
        raise ValueError(
            f"`elapsed` must have {len(delays)} values like `delays`, "
            f"but has {len(elapsed)} instead."
        )
    tokens, before = [], 0.0
    for delay, time in zip(delays, elapsed, strict=True):
        compute = time - delay
        tokens.append(_Token(delay, 0.0, compute - before))
        before = compute
    return _mean_delay(tokens)


def speech_token_delay(delays: Sequence[float], durations: Sequence[float]) -> float:
    """ATD of speech that lasts `durations` ms for each write; writes at one delay are one.

    Raises ValueError as `text_token_delay` does, and when a duration is not positive.
    """
    _check(delays)
    if len(durations) != len(delays) or min(durations) <= 0:
        raise ValueError(
            f"`durations` must be {len(delays)} positive numbers of ms, "
            f"but are {list(durations)} instead."
        )
    tokens = []
    writes = zip(delays, durations, strict=True)
    for delay, chunk in groupby(writes, key=lambda write: write[0]):
        tokens += [_Token(delay, length) for length in _cut(sum(length for _, length in chunk))]
    return _mean_delay(tokens)


def _mean_delay(tokens: Sequence[_Token]) -> float:
    # Of each stretch of source between two writes: how many source tokens came before it, when it
    # begins and how long it is. A list of its tokens would have no bound.
    stretches: list[tuple[int, float, float]] = []
    num_sources = 0
    read = now = total = 0.0
    source_before = target_before = 0  # tokens of all earlier writes and of the source read then
    for place, token in enumerate(tokens, start=1):
        if token.delay > read:
            source_before, target_before = num_sources, place - 1
            stretches.append((num_sources, read, token.delay - read))
            num_sources += math.ceil((token.delay - read) / TOKEN_MS)
            read = token.delay
        partner = min(place - max(0, target_before - source_before), num_sources)
        now = max(now, token.delay) + token.length + token.compute
        total += now - _end_of_source_token(stretches, partner)
    return total / len(tokens)


def _end_of_source_token(stretches: Sequence[tuple[int, float, float]], place: int) -> float:
    """The end of source token `place`, counted from 1; 0 for `place` 0."""
    if place < 1:
        return 0.0
    before, begin, length = stretches[bisect_left(stretches, place, key=itemgetter(0)) - 1]
    return begin + min((place - before) * TOKEN_MS, length)


def _cut(duration: float) -> Iterator[float]:
    whole, rest = divmod(duration, TOKEN_MS)
    yield from repeat(float(TOKEN_MS), int(whole))
    if rest:
        yield rest


def _check(delays: Sequence[float]) -> None:
    if not delays:
        raise ValueError("`delays` must hold at least one token, but is empty instead.")
    if any(later < earlier for earlier, later in pairwise(delays)):
        raise ValueError(f"`delays` must not go back, but are {list(delays)} instead.")
