"""The CT-mask is its definition, and the length mask is its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from echostream.modules.masks import ct_mask, length_mask

# Positions of queries and keys as `forward` has them, and as `step` does: the cache lies before 0.
PLACES = [
    (range(19), range(19)),
    (range(16), range(-24, 16)),
    (range(-16, 8), range(-40, 8)),
    (range(-3, 5), range(-11, 2)),  # groups that are cut
    (range(8, 16), range(0, 48)),
    (range(4), range(0)),
    (range(0), range(4)),
]


def definition(
    queries: range, keys: range, group: int, left: int, look_ahead: int
) -> list[list[bool]]:
    """i sees j iff `group(i) - left <= group(j) <= group(i) + look_ahead`."""
    group_of = {
        number * group + member: number for number in range(-50, 50) for member in range(group)
    }
    rows = []
    for i in queries:
        row = []
        for j in keys:
            row.append(group_of[i] - left <= group_of[j] <= group_of[i] + look_ahead)
        rows.append(row)
    return rows


def frames(positions: range) -> Tensor:
    return torch.tensor(list(positions))


@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("look_ahead", [0, 1, 2])
@pytest.mark.parametrize("left", [0, 1, 3, 64])
def test_the_mask_is_its_definition(group: int, left: int, look_ahead: int) -> None:
    for queries, keys in PLACES:
        mask = ct_mask(frames(queries), frames(keys), group, left, look_ahead)
        assert mask.dtype == torch.bool
        assert mask.shape == (len(queries), len(keys))
        assert mask.tolist() == definition(queries, keys, group, left, look_ahead)


@pytest.mark.parametrize("group", [1, 2, 4, 8])
def test_the_same_group_at_another_time_sees_the_same(group: int) -> None:
    mask = ct_mask(frames(range(24)), frames(range(-16, 32)), group, 2, 1)
    for groups in (-5, 1, 4000):
        shift = groups * group
        queries, keys = range(shift, shift + 24), range(shift - 16, shift + 32)
        later = ct_mask(frames(queries), frames(keys), group, 2, 1)
        assert torch.equal(later, mask)


@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_a_query_sees_its_left_context_its_group_and_its_look_ahead(
    group: int, look_ahead: int
) -> None:
    left = 3
    mask = ct_mask(frames(range(10 * group)), frames(range(10 * group)), group, left, look_ahead)
    middle = mask[5 * group : 6 * group]
    assert middle.sum(1).tolist() == [(left + 1 + look_ahead) * group] * group
    assert middle.nonzero()[:, 1].min() == (5 - left) * group
    assert middle.nonzero()[:, 1].max() == (6 + look_ahead) * group - 1


@pytest.mark.parametrize("size", [0, 1, 7])
def test_the_length_mask_counts_from_the_first_frame(size: int) -> None:
    lengths = list(range(size + 3))  # beyond the end too
    wanted = [[position < length for position in range(size)] for length in lengths]
    mask = length_mask(torch.tensor(lengths), size)
    assert mask.dtype == torch.bool
    assert mask.tolist() == wanted
