"""Alignments hold the units of their text: spread evenly, and the best one under a model."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest
import torch
from tiny_speech import tiny_unit_decoder

from echostream.models.ctc_align import best_alignment
from echostream.speech_config import CTC
from echostream.text.spoken_words import SpokenWord
from echostream.training.unit_decoder.alignment import merged, spread_evenly
from echostream.training.unit_decoder.example import NO_UNIT, UnitExample

BLANK = 4
CONFIG = tiny_unit_decoder(9, BLANK, kind=CTC, unit_upsample=6, max_tokens=2)


def example(num_tokens: list[int], durations: list[int], seed: int) -> UnitExample:
    rng = np.random.default_rng(seed)
    words = tuple(SpokenWord((3,) * count, 3) for count in num_tokens)
    return UnitExample(words, tuple(durations), tuple(rng.integers(0, 2, sum(durations)).tolist()))


@pytest.mark.parametrize(
    ("num_tokens", "durations"),
    [
        ([1], [1]),
        ([1, 1, 1], [3, 4, 2]),  # two units, so many repeats
        ([2, 1], [6, 3]),
        ([3, 1], [6, 3]),  # more tokens than have a place
        ([1, 1, 1], [0, 0, 7]),  # without word ends, the last word has all units
        ([1, 1, 2], [5, 0, 4]),
    ],
)
def test_units_spread_evenly_are_those_of_the_text(
    num_tokens: list[int], durations: list[int]
) -> None:
    examples = [example(num_tokens, durations, seed) for seed in range(20)]
    alignment = spread_evenly(examples, CONFIG, BLANK)
    lengths = torch.tensor([sum(each.positions(CONFIG)) for each in examples])
    assert alignment.shape[1] == 6 * sum(min(count, 2) for count in num_tokens)
    assert merged(alignment, lengths, BLANK) == [list(each.units) for each in examples]


def test_the_units_of_a_word_are_spread_over_its_own_positions() -> None:
    text = UnitExample((SpokenWord((3,), 3), SpokenWord((3,), 0)), (3, 2), (0, 1, 2, 3, 0))
    (row,) = spread_evenly([text], CONFIG, BLANK).tolist()
    assert row == [0, 0, 1, 1, 2, 2, 3, 3, 3, 0, 0, 0]


def test_padding_is_no_unit() -> None:
    short, long = example([1], [2], 0), example([2], [3], 1)
    alignment = spread_evenly([short, long], CONFIG, BLANK)
    assert (alignment == NO_UNIT).sum(1).tolist() == [6, 0]


@pytest.mark.parametrize("units", [[0], [1, 1], [0, 1, 0], [2, 2, 2], []])
def test_the_best_alignment_is_that_of_a_search_over_all(units: list[int]) -> None:
    size = 6
    torch.manual_seed(len(units))
    log_probs = torch.randn(1, size, BLANK + 1).log_softmax(-1)
    found = best_alignment(log_probs, torch.tensor([size]), torch.tensor([units]).long(), BLANK)
    paths = (
        path
        for path in product(range(BLANK + 1), repeat=size)
        if [key for key, _ in groupby(path) if key != BLANK] == units
    )
    best = max(paths, key=lambda path: sum(log_probs[0, t, c].item() for t, c in enumerate(path)))
    assert found[0].tolist() == list(best)


def test_rows_of_a_batch_are_aligned_as_if_alone() -> None:
    torch.manual_seed(0)
    log_probs = torch.randn(3, 9, BLANK + 1).log_softmax(-1)
    lengths, units = torch.tensor([9, 5, 3]), [[0, 1, 1, 2], [3, 3], [1]]
    padded = torch.tensor([row + [NO_UNIT] * (4 - len(row)) for row in units])
    together = best_alignment(log_probs, lengths, padded, BLANK)
    for row in range(3):
        part = slice(row, row + 1)
        size = int(lengths[row])
        alone = best_alignment(
            log_probs[part, :size], lengths[part], torch.tensor([units[row]]), BLANK
        )
        assert together[row, :size].tolist() == alone[0].tolist()
        assert (together[row, size:] == NO_UNIT).all()
