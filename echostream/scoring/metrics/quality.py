"""BLEU and chrF of a whole run, by sacrebleu, with their signatures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

DEFAULT_TOKENIZER = BLEU.TOKENIZER_DEFAULT
# Of a text without spaces, which the default takes for one word.
UNSPACED_TOKENIZER = "char"


class Quality(NamedTuple):
    """Corpus scores in percent, and sacrebleu's signature of each by its name."""

    BLEU: float
    chrF: float
    signatures: dict[str, str]


def make_bleu(tokenizer: str = DEFAULT_TOKENIZER) -> BLEU:
    """sacrebleu's metric with one of its tokenizers.

    Raises ValueError for one that it does not have, or whose library or model is not there.
    """
    if tokenizer not in BLEU.TOKENIZERS:
        raise ValueError(
            f"the tokenizer of sacrebleu must be one of {', '.join(BLEU.TOKENIZERS)}, "
            f"but is {tokenizer} instead."
        )
    try:
        return BLEU(tokenize=tokenizer)
    except (RuntimeError, ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"sacrebleu's tokenizer {tokenizer} cannot be used: {reason}") from error


def quality(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    tokenizer: str = DEFAULT_TOKENIZER,
) -> Quality:
    """Scores of predictions against one or several references each, which are taken as they are.

    Raises ValueError when there is none, when there are more of one than of the other, and for a
    tokenizer that cannot be used.
    """
    if not predictions or len(predictions) != len(references):
        raise ValueError(
            "`predictions` and `references` must be as many, and at least one, "
            f"but are {len(predictions)} and {len(references)} instead."
        )
    hypotheses = list(predictions)
    choices = [[one] if isinstance(one, str) else list(one) for one in references]
    # sacrebleu has a list for each first, second ... reference, with None where there is none.
    expected = [list(column) for column in zip_longest(*choices)]
    bleu, chrf = make_bleu(tokenizer), CHRF()
    return Quality(
        float(bleu.corpus_score(hypotheses, expected).score),
        float(chrf.corpus_score(hypotheses, expected).score),
        # only known after a score
        {"BLEU": str(bleu.get_signature()), "chrF": str(chrf.get_signature())},
    )
