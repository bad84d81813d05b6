"""Range checks for whole numbers, with one form of error message.

A whole number is an int or another integer type, as those of numpy; a bool is none.
"""

from __future__ import annotations

import dataclasses
import operator
from numbers import Integral
from reprlib import Repr
from typing import Any

_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80


def shown(value: object) -> str:
    """The repr of a value for an error message, shortened if it is long."""
    return _repr.repr(value)


def plain(value: Any) -> Any:
    """The value, as an int if it is of another integer type (numpy's), which YAML cannot write."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return operator.index(value)
    return value


def make_plain(config: Any) -> None:
    """Replaces each whole number in the fields of a new frozen dataclass by its `plain`."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        items = tuple(map(plain, value)) if isinstance(value, tuple) else plain(value)
        object.__setattr__(config, field.name, items)


def check_whole(name: str, value: object, least: int, most: int, multiple_of: int = 1) -> None:
    """Raises `ValueError` unless `value` is a whole number from `least` to `most`."""
    value = plain(value)
    if type(value) is int and least <= value <= most and value % multiple_of == 0:
        return
    multiple = f" and a multiple of {multiple_of}" if multiple_of > 1 else ""
    raise ValueError(
        f"`{name}` must be a whole number from {least} to {most}{multiple}, "
        f"but is {shown(value)} instead."
    )


def check_size(name: str, value: object, least: int = 1, multiple_of: int = 1) -> None:
    """Raises `ValueError` unless `value` is a whole number, at least `least`."""
    value = plain(value)
    if type(value) is not int or value < least or value % multiple_of:
        multiple = f" and a multiple of {multiple_of}" if multiple_of > 1 else ""
        raise ValueError(
            f"`{name}` must be a whole number, at least {least}{multiple}, "
            f"but is {shown(value)} instead."
        )
