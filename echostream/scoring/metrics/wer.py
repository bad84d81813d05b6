"""Error rates: the share of reference words or characters to be changed, added or taken out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from echostream.scoring.texts import characters

SPLIT: dict[str, Callable[[str], Sequence[str]]] = {"word": str.split, "char": characters}


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Fewest insertions, deletions and substitutions that turn one into the other (Levenshtein).

    A column of the usual table is two whole numbers, whose bits are the steps up and down in it
    (Myers 1999; Hyyrö 2003).
    """
    places: dict[str, int] = {}  # of each word in the reference, as bits
    for place, word in enumerate(reference):
        places[word] = places.get(word, 0) | 1 << place
    mask = (1 << len(reference)) - 1
    last = 1 << len(reference) >> 1
    up, down, distance = mask, 0, len(reference)
    for word in hypothesis:
        equal = places.get(word, 0)
        diagonal = (((equal & up) + up) ^ up | equal | down) & mask
        right_up = down | ~(diagonal | up) & mask
        right_down = diagonal & up
        if not last or right_up & last:
            distance += 1
        elif right_down & last:
            distance -= 1
        right_up = (right_up << 1 | 1) & mask
        right_down = right_down << 1 & mask
        up = right_down | ~(diagonal | right_up) & mask
        down = right_up & diagonal
    return distance


def word_error_rate(
    references: Sequence[str | Sequence[str]],
    hypotheses: Sequence[str],
    unit: str = "word",
) -> float:
    """WER, or with `char` CER, of a whole run in percent; case and punctuation count.

    All edits over all reference words; NaN when the references hold no word. An utterance with
    several references is compared with the one that it is nearest to, by the share of edits.
    Raises ValueError when there are more of one than of the other.
    """
    if len(references) != len(hypotheses):
        raise ValueError(
            "`references` and `hypotheses` must be as many, "
            f"but are {len(references)} and {len(hypotheses)} instead."
        )
    split = SPLIT[unit]
    edits = num_words = 0
    for wanted, hypothesis in zip(references, hypotheses, strict=True):
        words = split(hypothesis)
        choices = [split(one) for one in ([wanted] if isinstance(wanted, str) else wanted)]
        pairs = [(edit_distance(choice, words), len(choice)) for choice in choices]
        nearest = min(pairs, key=lambda pair: pair[0] / max(1, pair[1]))
        edits += nearest[0]
        num_words += nearest[1]
    return 100 * edits / num_words if num_words else math.nan
