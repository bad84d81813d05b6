"""Word error rate: the share of reference words that must be changed, added or taken out."""

from __future__ import annotations

import math
from collections.abc import Sequence


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Fewest insertions, deletions and substitutions that turn one into the other (Levenshtein)."""
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, word in enumerate(hypothesis, start=1):
            change = diagonal + (expected != word)
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, change)
    return row[-1]


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """WER of a whole run in percent, on the texts as they are (case and punctuation count).

    All edits over all reference words; NaN when the references hold no word.
    Raises ValueError when there are more of one than of the other.
    """
    if len(references) != len(hypotheses):
        raise ValueError(
            "`references` and `hypotheses` must be as many, "
            f"but are {len(references)} and {len(hypotheses)} instead."
        )
    edits = sum(
        edit_distance(reference.split(), hypothesis.split())
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    )
    num_words = sum(len(reference.split()) for reference in references)
    return 100 * edits / num_words if num_words else math.nan
