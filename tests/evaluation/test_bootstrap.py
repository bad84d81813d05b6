"""The bootstrap: sacrebleu's scores and intervals, and p-values with their stated error rate."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from echostream.evaluation.bootstrap import (
    bleu_of,
    bleu_statistics,
    interval,
    paired_p_value,
    resample,
)

WORDS = ["the", "a", "small", "big", "cat", "dog", "house", "sleeps", "sees", "runs", "in", "near"]


def references(num: int, rng: random.Random) -> list[str]:
    return [" ".join(rng.choices(WORDS, k=rng.randint(5, 12))) for _ in range(num)]


def with_errors(lines: list[str], rate: float, rng: random.Random) -> list[str]:
    """A system: each word is replaced with probability `rate`."""
    return [
        " ".join(rng.choice(WORDS) if rng.random() < rate else word for word in line.split())
        for line in lines
    ]


def p_value(a: list[str], b: list[str], refs: list[str], num_resamples: int = 300) -> float:
    stats_a, stats_b = bleu_statistics(a, refs), bleu_statistics(b, refs)
    return paired_p_value(
        bleu_of(stats_a.sum(0)),
        bleu_of(stats_b.sum(0)),
        resample(stats_a, num_resamples),
        resample(stats_b, num_resamples),
    )


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.7, 1.0])
def test_summed_statistics_give_the_score_of_sacrebleu(rate: float) -> None:
    rng = random.Random(1)
    refs = references(25, rng)
    system = with_errors(refs, rate, rng)
    system[3], system[4], system[5] = "", "cat", "the the the, the."
    expected = BLEU().corpus_score(system, [refs]).score
    assert bleu_of(bleu_statistics(system, refs).sum(0)) == pytest.approx(expected, abs=1e-12)


def test_a_system_without_output_scores_zero() -> None:
    assert bleu_of(bleu_statistics(["", ""], ["a cat", "a dog"]).sum(0)) == 0


def test_resamples_depend_on_the_seed_and_on_nothing_else() -> None:
    rng = random.Random(2)
    refs = references(20, rng)
    statistics = bleu_statistics(with_errors(refs, 0.3, rng), refs)
    first = resample(statistics, 50, seed=7)
    np.random.seed(99)
    assert np.array_equal(first, resample(statistics, 50, seed=7))
    assert not np.array_equal(first, resample(statistics, 50, seed=8))


def test_resamples_of_two_systems_are_paired() -> None:
    # One wrong line: a resample loses exactly where it drew that line, whichever system it is of.
    refs = [f"{word} " * 6 for word in WORDS]
    first, last = list(refs), list(refs)
    first[0], last[0] = "no match here", "no match here"
    a = resample(bleu_statistics(first, refs), 100)
    b = resample(bleu_statistics(last, refs), 100)
    assert np.array_equal(a, b)
    assert 0 < (a < 100).sum() < 100


def test_interval_is_as_wide_as_that_of_sacrebleu() -> None:
    rng = random.Random(3)
    refs = references(60, rng)
    system = with_errors(refs, 0.3, rng)
    low, high = interval(resample(bleu_statistics(system, refs), 1000))
    theirs = BLEU().corpus_score(system, [refs], n_bootstrap=1000)
    assert low < theirs.score < high
    # Other random draws, and quantiles that differ by one rank: near, not equal.
    assert (high - low) / 2 == pytest.approx(theirs._ci, rel=0.1)
    assert (high + low) / 2 == pytest.approx(theirs._mean, abs=0.1 * theirs._ci)


def test_interval_of_equal_lines_is_a_point() -> None:
    low, high = interval(resample(bleu_statistics(["a b c d e"] * 5, ["a b c x e"] * 5), 20))
    assert low == high


def test_systems_with_the_same_output_do_not_differ() -> None:
    rng = random.Random(4)
    refs = references(30, rng)
    system = with_errors(refs, 0.3, rng)
    assert p_value(system, list(system), refs) == 1.0


def test_a_much_better_system_differs_and_the_order_does_not_matter() -> None:
    rng = random.Random(5)
    refs = references(60, rng)
    good, bad = with_errors(refs, 0.1, rng), with_errors(refs, 0.5, rng)
    assert p_value(bad, good, refs) < 0.01
    assert p_value(bad, good, refs) == p_value(good, bad, refs)


def test_equally_good_systems_seldom_differ() -> None:
    """Under the null hypothesis p is spread over (0, 1), and rarely small.

    Of 60 pairs, 3 are expected below 0.05; more than 9 would have a probability of about 0.1 %.
    """
    rng = random.Random(6)
    found = []
    for _ in range(60):
        refs = references(40, rng)
        a, b = with_errors(refs, 0.3, rng), with_errors(refs, 0.3, rng)
        found.append(p_value(a, b, refs, num_resamples=100))
    assert sum(p < 0.05 for p in found) <= 9
    assert 0.35 < float(np.mean(found)) < 0.65


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="equally many and not empty, but are 1 and 2"):
        bleu_statistics(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="not empty"):
        bleu_statistics([], [])
    with pytest.raises(ValueError, match="`num_resamples` must be positive, but is 0"):
        resample(bleu_statistics(["a"], ["a"]), 0)
    with pytest.raises(ValueError, match="must be paired, but have 3 and 4"):
        paired_p_value(1.0, 2.0, np.zeros(3), np.zeros(4))
