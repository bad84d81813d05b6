"""Bootstrap of corpus BLEU over utterances: confidence intervals, and a paired test of two systems.

The statistics of an utterance and the score of their sum are sacrebleu's. The resampling is not,
because `sacrebleu.significance.PairedTest` (2.6.0) counts resamples strictly beyond the observed
difference and so reports p = 1 / (B + 1), "highly significant", for two systems with the
same output: the likely case for two points of one latency curve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

from echostream.scoring.metrics.quality import DEFAULT_TOKENIZER, make_bleu
from echostream.scoring.texts import composed

NUM_RESAMPLES = 1000
SEED = 12345
_ORDERS = 4  # 1-grams to 4-grams


def bleu_statistics(
    predictions: Sequence[str], references: Sequence[str], tokenizer: str = DEFAULT_TOKENIZER
) -> NDArray[np.int64]:
    """The statistics of corpus BLEU per utterance, (N, 10): n-gram matches, totals, both lengths.

    Texts are compared in NFC, as all scores are.

    Raises ValueError when the two lists are empty or differ in length.
    """
    if len(predictions) != len(references) or not predictions:
        raise ValueError(
            "`predictions` and `references` must be equally many and not empty, "
            f"but are {len(predictions)} and {len(references)} instead."
        )
    metric = make_bleu(tokenizer)
    rows = []
    for prediction, reference in zip(predictions, references, strict=True):
        found = metric.corpus_score([composed(prediction)], [[composed(reference)]])
        rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
    return np.array(rows, dtype=np.int64)


def bleu_of(totals: NDArray[np.int64]) -> float:
    """Corpus BLEU from the sum of statistics (10,), with the default settings of sacrebleu."""
    values = [int(value) for value in totals]
    found = BLEU.compute_bleu(
        correct=values[:_ORDERS],
        total=values[_ORDERS : 2 * _ORDERS],
        sys_len=values[-2],
        ref_len=values[-1],
        smooth_method="exp",  # the default of BLEU(), not of this function
    )
    return float(found.score)


def resample(
    statistics: NDArray[np.int64], num_resamples: int = NUM_RESAMPLES, seed: int = SEED
) -> NDArray[np.float64]:
    """BLEU of `num_resamples` corpora drawn with replacement, (R,).

    The draws depend on `seed` and the number of utterances alone: entry r of two systems is the
    same corpus, which makes every comparison a paired one.
    """
    if num_resamples < 1:
        raise ValueError(f"`num_resamples` must be positive, but is {num_resamples} instead.")
    rng = np.random.default_rng(seed)
    num = len(statistics)
    scores = (bleu_of(statistics[rng.integers(num, size=num)].sum(0)) for _ in range(num_resamples))
    return np.fromiter(scores, dtype=np.float64, count=num_resamples)


def interval(resampled: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the resampled scores: (low, high)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def paired_p_value(
    score_a: float,
    score_b: float,
    resampled_a: NDArray[np.float64],
    resampled_b: NDArray[np.float64],
) -> float:
    """Two-sided p-value of "a and b are equally good", from paired resamples (R,) of both.

    The resampled differences are centred on the observed one, and those at least as far from it
    as it is from zero are counted (Riezler and Maxwell 2005). 1.0 for two systems with the same
    output.
    """
    if len(resampled_a) != len(resampled_b):
        raise ValueError(
            f"`resampled_a` and `resampled_b` must be paired, but have {len(resampled_a)} "
            f"and {len(resampled_b)} entries instead."
        )
    observed = score_b - score_a
    centred = np.abs((resampled_b - resampled_a) - observed)
    beyond = int((centred >= abs(observed) - 1e-9).sum())
    return (beyond + 1) / (len(centred) + 1)
