"""The order of a pass: each row as often as its weight says, from the seed and the pass alone."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from echostream.training.order import EpochOrder


def epochs(order: EpochOrder, count: int) -> list[list[int]]:
    return [[order.row(n * order.size + i) for i in range(order.size)] for n in range(count)]


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_without_weights_an_epoch_is_all_rows_shuffled_as_a_list_of_them(size: int) -> None:
    for number, found in enumerate(epochs(EpochOrder(np.ones(size), 3), 3)):
        wanted = list(range(size))
        random.Random(f"3 {number}").shuffle(wanted)
        assert found == wanted


WEIGHTS = {
    "quarter": [1, 0.25, 1, 5, 0, 2.5],
    "tenths": [0.1] * 20,  # whose sum in floats is above 2
    "thirds": [1 / 3] * 3,
    "one": [0.5],
    "many": [*np.random.default_rng(0).uniform(0, 3, 50)],
    "nearly": [0.9, 0.6],
    "whole": [3, 0, 2],
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_each_epoch_uses_a_row_as_often_as_its_weight_rounded_up_or_down(
    weights: list[float],
) -> None:
    order = EpochOrder(np.array(weights, float), 1)
    assert order.size == int(np.ceil(round(sum(weights), 6)))
    for found in epochs(order, 40):
        counts = Counter(found)
        for row, weight in enumerate(weights):
            assert counts[row] in (int(np.floor(weight)), int(np.ceil(weight)))


def test_on_average_a_row_is_used_as_often_as_its_weight_says() -> None:
    weights = np.random.default_rng(1).uniform(0, 2, 60)
    weights[-1] += np.ceil(weights.sum()) - weights.sum()  # no entry is left over
    uses = Counter(row for found in epochs(EpochOrder(weights, 1), 200) for row in found)
    for row, weight in enumerate(weights):
        assert uses[row] / 200 == pytest.approx(weight, abs=0.02)


def test_a_row_of_a_quarter_comes_about_every_fourth_epoch() -> None:
    found = epochs(EpochOrder(np.array([0.25] * 400), 1), 60)
    for row in (0, 17, 399):
        comes = [number for number, rows in enumerate(found) if row in rows]
        assert 12 <= len(comes) <= 18 and max(np.diff(comes)) <= 8


def test_the_order_depends_on_the_seed_and_the_epoch_and_not_on_what_was_asked_before() -> None:
    weights = np.array([1.0, 0.5, 2.25, 1.0, 3.0])
    order, again, other = (EpochOrder(weights, seed) for seed in (1, 1, 2))
    wanted = epochs(order, 6)
    for index in (41, 0, 25, 9, 33, 3):
        assert again.row(index) == wanted[index // order.size][index % order.size]
    assert epochs(other, 6) != wanted and wanted[0] != wanted[1]


def test_weights_that_are_all_0_are_refused() -> None:
    with pytest.raises(ValueError, match="all weights are 0"):
        EpochOrder(np.zeros(3), 1)
