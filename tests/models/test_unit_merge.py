"""The merge of alignments word by word gives the units of the whole alignment."""

from __future__ import annotations

from itertools import groupby

import pytest
import torch

from echostream.models.unit_merge import drop_some, merge_units

BLANK = 5


def slowly(classes: list[int]) -> list[int]:
    return [key for key, _ in groupby(classes) if key != BLANK]


@pytest.mark.parametrize("sizes", [[1], [1, 1, 1, 1], [7, 0, 3], [0, 2, 0, 9, 1]])
def test_units_merged_word_by_word_are_those_of_the_whole_alignment(sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(sum(sizes))
    for _ in range(20):  # ids 3 to 5: repeats and blanks are frequent
        whole = torch.randint(3, BLANK + 1, (4, sum(sizes)), generator=generator)
        last, found = torch.full((4,), BLANK), [list[int]() for _ in range(4)]
        for part in whole.split(sizes, dim=1):
            padded = torch.cat([part, torch.full((4, 2), 3)], dim=1)  # beyond the valid frames
            counts = torch.full((4,), part.shape[1])
            units, count, last = merge_units(padded, counts, BLANK, last)
            for row in range(4):
                found[row] += units[row, : count[row]].tolist()
        assert found == [slowly(row) for row in whole.tolist()]


def test_rows_of_different_lengths_are_merged_as_if_alone() -> None:
    classes = torch.tensor([[1, 1, BLANK, 1, 2], [2, 2, 2, 3, 3], [4, 1, 1, 1, 1]])
    units, count, last = merge_units(
        classes, torch.tensor([5, 3, 0]), BLANK, torch.tensor([1, BLANK, 4])
    )
    found = [row[:number].tolist() for row, number in zip(units, count.tolist(), strict=True)]
    assert found == [[1, 2], [2], []]
    assert units.max() < BLANK  # what is left is a unit, too
    assert last.tolist() == [2, 2, 4]


@pytest.mark.parametrize("size", [0, 1, 4, 5, 6, 10, 11])
def test_a_row_that_is_to_be_faster_loses_every_fifth_unit(size: int) -> None:
    units = torch.arange(12).repeat(2, 1)
    kept, count = drop_some(units, torch.tensor([size, size]), torch.tensor([1.0, 1.25]))
    assert kept[0, : count[0]].tolist() == list(range(size))
    assert kept[1, : count[1]].tolist() == [u for u in range(size) if u % 5 != 4]


@pytest.mark.parametrize("speed", [1.0, 1.01, 1.1, 1.125, 1.2, 1.25])
def test_the_units_that_are_left_take_a_share_of_the_time(speed: float) -> None:
    units, size = torch.arange(200)[None], torch.tensor([200])
    kept, (count,) = drop_some(units, size, torch.tensor([speed]))
    left = kept[0, :count]
    assert abs(int(count) - 200 / speed) < 1
    assert left[0] == 0 and (left.diff() <= 2).all()  # evenly: no two neighbours are left out
