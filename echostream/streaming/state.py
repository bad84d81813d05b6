"""A state is a value: a `NamedTuple` of tensors, or of states.

Every state obeys these rules:

1. Axis 0 of every tensor is the stream; counters are integer tensors `(B,)`.
2. Shapes and dtypes are fixed by `init_state`; a slot not filled yet is `valid=False`.
3. It holds no `None`, no Python number and no module.
4. `step(x, state)` writes neither to `state` nor to the module. Keeping the old state is a
   snapshot; stepping from it again is a replay.
5. A cache is concatenated with the new frames, used, and only then trimmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

State = TypeVar("State", bound=tuple[Any, ...])


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """A state of the same structure, `function` applied to each tensor (of all states at once)."""
    first = states[0]
    if (
        any(type(other) is not type(first) for other in states[1:])
        or len(set(map(len, states))) > 1
    ):
        raise ValueError(f"states must have one structure, but are {[type(s) for s in states]}.")
    fields = [
        function(*leaves) if isinstance(leaves[0], Tensor) else map_state(function, *leaves)
        for leaves in zip(*states, strict=True)
    ]
    return type(first)(*fields) if hasattr(first, "_fields") else type(first)(fields)


def named_leaves(state: tuple[Any, ...], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Each tensor of a state under the path of its fields, `stack1.0.attention.key`."""
    names = getattr(state, "_fields", None) or [str(index) for index in range(len(state))]
    for name, value in zip(names, state, strict=True):
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(value, Tensor):
            yield path, value
        else:
            yield from named_leaves(value, path)


def leaves(state: tuple[Any, ...]) -> list[Tensor]:
    """The tensors of a state, in the order of their fields."""
    found: list[Tensor] = []
    for value in state:
        if isinstance(value, Tensor):
            found.append(value)
        else:
            found += leaves(value)
    return found


def state_nbytes(state: tuple[Any, ...]) -> int:
    """Bytes of all tensors of a state, all streams together."""
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves(state))


def select_rows(active: Tensor, new: State, old: State) -> State:
    """The state of a batch in which only some streams made a step.

    `active` `(B,)` bool: True takes the row of `new`, False keeps the row of `old`.
    """

    def pick(n: Tensor, o: Tensor) -> Tensor:
        return torch.where(active.reshape(-1, *[1] * (n.dim() - 1)), n, o)

    return map_state(pick, new, old)


def take_rows(state: State, rows: Sequence[int]) -> State:
    """The state of the streams `rows` of a batch, in this order; a view if they are consecutive."""
    if (rows_slice := _slice_of(rows)) is not None:
        return map_state(lambda leaf: leaf[rows_slice], state)
    index = torch.tensor(rows)
    return map_state(lambda leaf: leaf.index_select(0, index.to(leaf.device)), state)


def replace_rows(state: State, rows: Sequence[int], new: State) -> State:
    """A copy of `state` with the rows of `new` at the indices `rows`."""
    if list(rows) == list(range(len(leaves(state)[0]))):
        return new
    copy = map_state(torch.clone, state)
    put_rows(copy, rows, new)
    return copy


def put_rows(state: State, rows: Sequence[int], new: State) -> None:
    """Writes the rows of `new` over `rows` of `state`.

    In place, unlike every other function here: only for a state that the caller has allocated and
    does not share.
    """
    rows_slice, index = _slice_of(rows), torch.tensor(rows)

    def put(leaf: Tensor, n: Tensor) -> Tensor:
        if rows_slice is not None:
            leaf[rows_slice] = n
            return leaf
        return leaf.index_copy_(0, index.to(leaf.device), n)

    map_state(put, state, new)


def _slice_of(rows: Sequence[int]) -> slice | None:
    """Consecutive rows as a slice; None for others."""
    first, size = rows[0], len(rows)
    return slice(first, first + size) if list(rows) == list(range(first, first + size)) else None
