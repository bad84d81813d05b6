"""BLEU and chrF of a whole run, by sacrebleu, with the signatures that say how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF


class Quality(NamedTuple):
    """Corpus scores in percent, and sacrebleu's signature of each by its name."""

    BLEU: float
    chrF: float
    signatures: dict[str, str]


def quality(predictions: Sequence[str], references: Sequence[str]) -> Quality:
    """Scores of predictions against one reference each, with sacrebleu's defaults.

    Raises ValueError when there is none, or when there are more of one than of the other.
    """
    if not predictions or len(predictions) != len(references):
        raise ValueError(
            "`predictions` and `references` must be as many, and at least one, "
            f"but are {len(predictions)} and {len(references)} instead."
        )
    hypotheses, expected = list(predictions), [list(references)]
    bleu, chrf = BLEU(), CHRF()
    return Quality(
        float(bleu.corpus_score(hypotheses, expected).score),
        float(chrf.corpus_score(hypotheses, expected).score),
        # only known after a score
        {"BLEU": str(bleu.get_signature()), "chrF": str(chrf.get_signature())},
    )
