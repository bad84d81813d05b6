"""Checks of the values in the configuration of a training, with one form of error message."""

from __future__ import annotations

import math
from collections.abc import Collection

from echostream.config import ConfigError

MANY = 1_000_000  # far beyond any use: a typing error must not allocate all memory


def check_values(
    config: object, section: str, least: int, *names: str, most: float = math.inf
) -> None:
    """Raises `ConfigError` unless each field named is from `least` to `most`."""
    for name in names:
        value = getattr(config, name)
        if not least <= value <= most:  # NaN, too
            limit = f"at most {most}" if value > most else f"at least {least}"
            raise ConfigError(f"`{section}{name}` must be {limit}, but is {value} instead.")


def check_positive(config: object, section: str, *names: str, most: float) -> None:
    """Raises `ConfigError` unless each field named is above 0 and at most `most`."""
    for name in names:
        value = getattr(config, name)
        if not 0 < value <= most:
            limit = f"at most {most}" if value > most else "positive"
            raise ConfigError(f"`{section}{name}` must be {limit}, but is {value} instead.")


def check_choice(key: str, value: str, allowed: Collection[str]) -> None:
    """Raises `ConfigError` unless the value is one of those allowed."""
    if value not in allowed:
        raise ConfigError(
            f"`{key}` must be one of {', '.join(allowed)}, but is {value[:80]!r} instead."
        )


def check_range(
    config: object, section: str, name: str, least: float, most: float, unit: str
) -> None:
    """Raises `ConfigError` unless a field is two numbers within the limits, in order."""
    value = getattr(config, name)
    if len(value) != 2 or not least <= value[0] <= value[1] <= most:
        raise ConfigError(
            f"`{section}{name}` must be two numbers of {unit} from {least:g} to {most:g}, the "
            f"smaller one first, but is {value} instead."
        )
