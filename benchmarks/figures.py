"""The result of a benchmark: a figure, its reference and its target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Unavailable(Exception):
    """A requirement of a figure is missing on this machine; the message names it."""


@dataclass(frozen=True)
class Target:
    """A bound on the ratio of a figure, or on its value: one of `at_most` and `at_least`."""

    of: str  # "ratio" or "value"
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if self.of not in ("ratio", "value"):
            raise ValueError(f"`of` must be ratio or value, but is {self.of!r} instead.")
        if (self.at_most is None) is (self.at_least is None):
            raise ValueError("one of `at_most` and `at_least` must be given, and not both.")

    def met_by(self, number: float) -> bool:
        """Whether a number is within the bound."""
        if self.at_most is not None:
            return number <= self.at_most
        assert self.at_least is not None
        return number >= self.at_least

    def __str__(self) -> str:
        if self.at_most is not None:
            return f"{self.of} at most {self.at_most:g}"
        return f"{self.of} at least {self.at_least:g}"


def at_most(bound: float, of: str = "value") -> Target:
    """A target that is met by small numbers."""
    return Target(of, at_most=bound)


def at_least(bound: float, of: str = "value") -> Target:
    """A target that is met by large numbers."""
    return Target(of, at_least=bound)


@dataclass(frozen=True)
class Figure:
    """One measured number, or the reason why there is none.

    Args:
        name: what was measured, complete enough to read the number without the code.
        value: None if it could not be measured; `note` is then the reason.
        unit: of `value` and `floor`.
        floor: the reference of `value`, in the same unit, from the same run.
        against: what was measured as `floor`.
        target: the bound to meet; None for a figure without one.
        low, high: 10th and 90th percentile of the samples whose median `value` is.
        note: the number of samples, and remarks.
    """

    name: str
    value: float | None
    unit: str
    floor: float | None = None
    against: str = ""
    target: Target | None = None
    low: float | None = field(default=None, kw_only=True)
    high: float | None = field(default=None, kw_only=True)
    note: str = field(default="", kw_only=True)

    @property
    def ratio(self) -> float | None:
        """`value / floor`; None without either."""
        return self.value / self.floor if self.value is not None and self.floor else None

    @property
    def meets(self) -> bool | None:
        """Whether the target is met; None without a target, or if nothing was measured."""
        if self.target is None:
            return None
        number = self.ratio if self.target.of == "ratio" else self.value
        return None if number is None else self.target.met_by(number)

    def as_dict(self) -> dict[str, Any]:
        """The figure in plain JSON; `skipped` is there only if it was not measured."""
        found: dict[str, Any] = {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "floor": self.floor,
            "ratio": self.ratio,
            "target": None if self.target is None else str(self.target),
            "meets": self.meets,
            "against": self.against,
            "low": self.low,
            "high": self.high,
            "note": self.note,
        }
        if self.value is None:
            found["skipped"] = self.note
        return found


def skipped(name: str, unit: str, reason: object, target: Target | None = None) -> Figure:
    """A figure that cannot be measured here."""
    return Figure(name, None, unit, target=target, note=f"skipped: {reason}")
