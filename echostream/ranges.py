"""Range checks for whole numbers, with one form of error message."""

from __future__ import annotations

from reprlib import Repr

_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80


def shown(value: object) -> str:
    """The repr of a value for an error message, shortened if it is long."""
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


def check_size(name: str, value: object, least: int = 1, multiple_of: int = 1) -> None:
    """Raises `ValueError` unless `value` is an int (no bool), at least `least`."""
    if type(value) is not int or value < least or value % multiple_of:
        multiple = f" and a multiple of {multiple_of}" if multiple_of > 1 else ""
        raise ValueError(
            f"`{name}` must be a whole number, at least {least}{multiple}, "
            f"but is {shown(value)} instead."
        )
