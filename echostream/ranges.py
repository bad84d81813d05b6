"""Whole numbers within bounds: one message for sizes, wherever they come from."""

from __future__ import annotations

from reprlib import Repr

_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80


def shown(value: object) -> str:
    """A value in a message, cut short if it is long."""
    return _repr.repr(value)


def check_whole(name: str, value: object, least: int, most: int, multiple_of: int = 1) -> None:
    """Raises `ValueError` unless `value` is an int (no bool) from `least` to `most`."""
    if type(value) is int and least <= value <= most and value % multiple_of == 0:
        return
    multiple = f" and a multiple of {multiple_of}" if multiple_of > 1 else ""
    raise ValueError(
        f"`{name}` must be a whole number from {least} to {most}{multiple}, "
        f"but is {shown(value)} instead."
    )


def check_batch_size(batch_size: object) -> None:
    """Raises `ValueError` unless it is a number of streams."""
    if type(batch_size) is not int or batch_size < 1:
        raise ValueError(
            f"`batch_size` must be a whole number, at least 1, but is {shown(batch_size)} instead."
        )
