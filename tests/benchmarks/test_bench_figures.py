"""Figures and their table: the ratio first, targets as bounds, nothing left out silently."""

from __future__ import annotations

import pytest

from benchmarks.figures import Figure, Target, at_least, at_most, skipped
from benchmarks.fixtures import BACKENDS, NAMES, QUICK, opened
from benchmarks.step import Work, steps_of_320
from benchmarks.table import HEADER, markdown, number
from benchmarks.timing import Times


@pytest.mark.parametrize(
    ("target", "value", "floor", "meets"),
    [
        (at_most(60), 60.0, 10.0, True),
        (at_most(60), 60.1, 10.0, False),
        (at_most(1.6, "ratio"), 16.0, 10.0, True),
        (at_most(1.6, "ratio"), 17.0, 10.0, False),
        (at_least(5, "ratio"), 50.0, 10.0, True),
        (at_least(5, "ratio"), 49.0, 10.0, False),
        (at_most(0), 0.0, None, True),
        (at_most(1.6, "ratio"), 16.0, None, None),  # nothing to compare with
        (None, 16.0, 10.0, None),
    ],
)
def test_a_target_bounds_the_ratio_or_the_value(
    target: Target | None, value: float, floor: float | None, meets: bool | None
) -> None:
    assert Figure("x", value, "ms", floor, target=target).meets is meets


def test_a_target_has_one_bound() -> None:
    with pytest.raises(ValueError, match="not both"):
        Target("value", at_most=1, at_least=0)
    with pytest.raises(ValueError, match="`of` must be"):
        Target("floor", at_most=1)


def test_the_ratio_comes_first_in_the_table() -> None:
    table = markdown([Figure("a | step", 33.04, "ms", 11.0, "reading", at_most(60), note="n|o")])
    assert table.splitlines()[0] == HEADER.splitlines()[0]
    assert HEADER.startswith("| ratio |")
    assert (
        "| **3.00** | reading: 11 ms | a / step | 33.0 ms | value at most 60 | yes | n/o |" in table
    )


def test_what_was_not_measured_is_in_the_table_with_its_reason() -> None:
    figure = skipped("GPU", "ms", "no GPU", at_most(1))
    row = markdown([figure]).splitlines()[-1]
    assert "skipped: no GPU" in row
    assert "not measured" in row
    found = figure.as_dict()
    assert (found["value"], found["meets"], found["skipped"]) == (None, None, "skipped: no GPU")


def test_a_step_that_reads_and_then_multiplies_at_both_limits_has_the_ratio_one() -> None:
    work = Work(reading=10.0, arithmetic=4.0)
    times = {
        "read int8": Times((2.5,)),
        "onnx": Times((14.0,)),
        "torch": Times((57.0,)),
        "onnx-int8": Times((9.0,)),
    }
    with opened(QUICK) as bench:
        figures = {one.name: one for one in steps_of_320(bench, times, {}, work)}
        found = {
            backend: figures[f"step of 320 ms, {bench.size} encoder, {NAMES[backend]}"]
            for backend in BACKENDS
        }
    assert (found["onnx"].ratio, found["onnx"].meets) == (1.0, True)
    assert (found["torch"].floor, found["torch"].meets) == (14.0, False)  # 57 is more than 4 x 14
    assert (found["onnx-int8"].floor, found["onnx-int8"].meets) == (14.0, True)


def test_every_row_has_as_many_cells_as_the_header() -> None:
    figures = [
        Figure("a", 1.0, "ms"),
        Figure("b", 1.0, "", 2.0, "c", at_least(1, "ratio"), low=0.5, high=2.0, note="d"),
        skipped("e", "s", "a | b"),
        skipped("f", "s", "why", at_most(1)),
    ]
    counts = {line.count("|") for line in markdown(figures).splitlines()}
    assert counts == {HEADER.splitlines()[0].count("|")}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.0123, "0.012"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12,346"),
        (2911372.0, "2,911,372"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert number(value) == text
