"""When each target word can be translated: IBM model 1 on the text, word times from the speech.

In a text without spaces, the pieces of its tokenizer are aligned instead of words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from echostream.text.tokenizer import Tokenizer

Pairs = Sequence[tuple[list[str], list[str]]]


def split_text(
    text: str, tokenizer: Tokenizer, emission_unit: str
) -> tuple[list[str], list[list[int]]]:
    """The aligned parts of a text with the ids of each: words, or pieces of text without spaces."""
    if emission_unit == "word":
        words = text.split()
        return words, [tokenizer.encode(word) for word in words]
    texts: list[str] = []
    pieces: list[list[int]] = [[]]
    for index in tokenizer.encode(text):
        pieces[-1].append(index)
        if surface := tokenizer.surface(index).strip():
            texts.append(surface)
            pieces.append([])
    # A lone word mark is added to the piece after it, at the end of the text to the one before.
    rest = pieces.pop()
    if pieces:
        pieces[-1] += rest
    return texts, pieces


class WordAligner:
    """IBM model 1: the probability of a target word given a source word.

    Brown et al. 1993, section 4.1. A target word is aligned with the source word of the sentence
    under which it is most probable, the first one of several. A target word that is in no sentence
    of `pairs` is aligned with the first word.
    """

    def __init__(self, pairs: Pairs, iterations: int = 6) -> None:
        self.probability = _expectation_maximisation(pairs, iterations)

    def align(self, source: Sequence[str], target: Sequence[str]) -> list[int]:
        """For each target word, the position of its source word."""
        return [
            max(range(len(source)), key=lambda i: self.probability.get((source[i], word), 0.0))
            for word in target
        ]


def _expectation_maximisation(pairs: Pairs, iterations: int) -> dict[tuple[str, str], float]:
    probability: dict[tuple[str, str], float] = defaultdict(lambda: 1.0)
    for _ in range(iterations):
        count: dict[tuple[str, str], float] = defaultdict(float)
        total: dict[str, float] = defaultdict(float)
        for source, target in pairs:
            for t in target:
                mass = sum(probability[s, t] for s in source)
                for s in source:
                    share = probability[s, t] / mass
                    count[s, t] += share
                    total[s] += share
        probability = defaultdict(float, {(s, t): c / total[s] for (s, t), c in count.items()})
    return dict(probability)


def emission_times(alignment: Iterable[int], source_ends: Sequence[float]) -> list[float]:
    """The time of each target word: the end of its source word, or of a later one before it."""
    times: list[float] = []
    latest = 0.0
    for position in alignment:
        latest = max(latest, source_ends[position])
        times.append(latest)
    return times


def align_pieces_to_frames(
    times: Sequence[float], pieces: Sequence[int], num_frames: int, rate: float
) -> list[int] | None:
    """The frame of each piece: the first free one after the time of its word, in order.

    `pieces` are the numbers of pieces of the words. None if they need more than `num_frames`.
    """
    frames: list[int] = []
    free = 0
    for time, count in zip(times, pieces, strict=True):
        free = max(free, int(time * rate) + 1)
        frames.extend(range(free, free + count))
        free += count
    return frames if free <= num_frames else None
