"""A state is a value: mapped, named, measured and mixed row by row."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from echostream import ZipformerEncoder
from echostream.streaming import (
    map_state,
    named_leaves,
    put_rows,
    select_rows,
    state_nbytes,
    take_rows,
)


class Inner(NamedTuple):
    key: Tensor
    valid: Tensor


class Outer(NamedTuple):
    layers: tuple[Inner, ...]
    count: Tensor
    empty: Tensor


class Other(NamedTuple):
    key: Tensor
    valid: Tensor


def inner(batch_size: int, offset: float) -> Inner:
    key = torch.arange(batch_size * 6, dtype=torch.float64).reshape(batch_size, 3, 2) + offset
    return Inner(key, key[..., 0] > 4)


def outer(batch_size: int = 3, offset: float = 0.0) -> Outer:
    return Outer(
        (inner(batch_size, offset), inner(batch_size, offset + 100)),
        torch.arange(batch_size) + int(offset),
        torch.zeros(batch_size, 0, 4),
    )


PATHS = ["layers.0.key", "layers.0.valid", "layers.1.key", "layers.1.valid", "count", "empty"]


def leaves(state: Outer) -> list[Tensor]:
    """Slow and obvious: the tensors written out by hand, in the order of `PATHS`."""
    first, second = state.layers
    return [first.key, first.valid, second.key, second.valid, state.count, state.empty]


def test_leaves_are_named_by_the_path_of_their_fields() -> None:
    state = outer()
    named = list(named_leaves(state))
    assert [name for name, _ in named] == PATHS
    assert all(found is leaf for (_, found), leaf in zip(named, leaves(state), strict=True))
    assert [name for name, _ in named_leaves(state, "model")] == [f"model.{p}" for p in PATHS]


def test_every_leaf_of_the_encoder_has_a_name_of_its_own() -> None:
    encoder = ZipformerEncoder(embed_dim=8, num_heads=2, ffn_dim=8, left_context=8)
    names = [name for name, _ in named_leaves(encoder.init_state(1, 1))]
    assert len(set(names)) == len(names)
    assert {"embed.past", "stacks.0.1.attention.key", "memory.attention.valid"} <= set(names)


def test_map_state_keeps_the_structure_and_reaches_every_leaf() -> None:
    state = outer()
    doubled = map_state(lambda leaf: leaf * 2, state)
    assert type(doubled) is Outer
    assert type(doubled.layers) is tuple
    assert all(type(layer) is Inner for layer in doubled.layers)
    for found, leaf in zip(leaves(doubled), leaves(state), strict=True):
        torch.testing.assert_close(found, leaf * 2, rtol=0, atol=0)


def test_map_state_takes_the_same_leaf_of_all_states() -> None:
    states = [outer(offset=offset) for offset in (0.0, 10.0, 50.0)]
    stacked = map_state(lambda *parts: torch.cat(parts, dim=0), *states)
    for found, *parts in zip(leaves(stacked), *map(leaves, states), strict=True):
        assert found.tolist() == [row for part in parts for row in part.tolist()]


@pytest.mark.parametrize(
    "other",
    [
        Other(torch.zeros(1), torch.zeros(1)),  # the same fields under another name
        (torch.zeros(1), torch.zeros(1)),
        outer(),
    ],
)
def test_states_of_another_type_are_refused(other: Any) -> None:
    state = Inner(torch.zeros(1), torch.zeros(1))
    for pair in ((state, other), (other, state)):
        with pytest.raises(ValueError, match="states must have one structure"):
            map_state(torch.add, *pair)


def test_states_with_another_number_of_layers_are_refused() -> None:
    state = outer()
    for layers in (state.layers[:1], (*state.layers, state.layers[0]), ()):
        with pytest.raises(ValueError, match="states must have one structure"):
            map_state(torch.maximum, state, state._replace(layers=layers))


def test_bytes_are_those_of_all_tensors_of_all_streams() -> None:
    # A stream: two layers of 3 * 2 float64 and 3 bool, and one int64.
    for batch_size in (1, 2, 5):
        assert state_nbytes(outer(batch_size)) == batch_size * (2 * (6 * 8 + 3) + 8)
    assert state_nbytes(()) == 0


@pytest.mark.parametrize("active", [[False] * 3, [True] * 3, [True, False, True]])
def test_rows_that_are_not_active_stay_as_they_were(active: list[bool]) -> None:
    old, new = outer(), outer(offset=7.0)
    before = map_state(torch.clone, old)
    chosen = select_rows(torch.tensor(active), new, old)
    for found, n, o in zip(leaves(chosen), leaves(new), leaves(old), strict=True):
        assert (found.shape, found.dtype) == (o.shape, o.dtype)
        for row, is_active in enumerate(active):
            assert torch.equal(found[row], n[row] if is_active else o[row])
    assert all(torch.equal(a, b) for a, b in zip(leaves(old), leaves(before), strict=True))


def test_the_former_content_of_a_row_has_no_effect() -> None:
    broken = map_state(lambda leaf: torch.full_like(leaf, torch.nan), inner(2, 0.0))
    chosen = select_rows(torch.tensor([False, True]), broken, inner(2, 0.0))
    assert torch.equal(chosen.key[0], inner(2, 0.0).key[0])
    assert chosen.key[1].isnan().all()


ROWS = [[0], [4], [1, 2, 3], [0, 1, 2, 3, 4], [0, 2], [4, 0, 3], [2, 1]]


@pytest.mark.parametrize("rows", ROWS)
def test_rows_are_taken_in_the_given_order(rows: list[int]) -> None:
    state = outer(5)
    taken = take_rows(state, rows)
    assert type(taken) is Outer
    for found, leaf in zip(leaves(taken), leaves(state), strict=True):
        assert (found.shape[1:], found.dtype) == (leaf.shape[1:], leaf.dtype)
        assert found.tolist() == [leaf[row].tolist() for row in rows]


@pytest.mark.parametrize("rows", ROWS)
def test_rows_are_put_where_they_belong_and_the_others_stay(rows: list[int]) -> None:
    state, new = outer(5), outer(len(rows), offset=1000.0)
    wanted = [leaf.tolist() for leaf in leaves(state)]
    storage = [leaf.data_ptr() for leaf in leaves(state)]
    for before, n in zip(wanted, leaves(new), strict=True):
        for row, values in zip(rows, n.tolist(), strict=True):
            before[row] = values
    put_rows(state, rows, new)
    assert [leaf.tolist() for leaf in leaves(state)] == wanted
    assert [leaf.data_ptr() for leaf in leaves(state)] == storage


def test_rows_that_adjoin_are_not_copied_when_they_are_taken() -> None:
    state = outer(4)
    for rows, is_copy in (([1, 2], False), ([0, 1, 2, 3], False), ([0, 2], True)):
        for found, leaf in zip(leaves(take_rows(state, rows)), leaves(state), strict=True):
            shared = found.untyped_storage().data_ptr() == leaf.untyped_storage().data_ptr()
            assert leaf.numel() == 0 or shared is not is_copy


def test_rows_of_another_structure_are_refused() -> None:
    with pytest.raises(ValueError, match="states must have one structure"):
        put_rows(outer(2), [0], inner(1, 0.0))
