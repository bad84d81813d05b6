"""Samples of time: the order of the calls, and which samples count."""

from __future__ import annotations

import time

import numpy as np
import pytest

from benchmarks.hardware import GemmBound, MemoryReadBound
from benchmarks.timing import Times, sample, take_turns


def test_a_sample_that_waited_for_the_processor_is_dropped() -> None:
    times = Times.of([(1.0, 1.0), (9.0, 1.0), (2.0, 1.99), (3.0, 2.0)])
    assert times.ms == (1.0, 2.0)
    assert times.num_dropped == 2
    assert "median of 2 (2 more were pre-empted)" in times.figure("x").note


def test_where_nearly_all_samples_waited_their_cpu_times_count() -> None:
    times = Times.of([(1.0, 1.0), *[(10.0, 3.0)] * 4])
    assert sorted(times.ms) == [1.0, 3.0, 3.0, 3.0, 3.0]
    assert times.num_dropped == 0
    assert "CPU times" in times.figure("x").note


def test_a_sleep_is_seen_as_waiting() -> None:
    wall, cpu = sample(lambda: time.sleep(0.02))
    assert wall >= 20
    assert cpu < 10


def test_the_figure_has_the_median_and_both_percentiles_in_its_unit() -> None:
    figure = Times(tuple(float(n) for n in range(101))).figure("x", "s", 0.001, 0.025)
    assert (figure.value, figure.low, figure.high) == pytest.approx((0.05, 0.01, 0.09))
    assert figure.ratio == pytest.approx(2.0)


def spin() -> None:
    """Keeps the processor, so that hardly any sample is disturbed."""
    end = time.thread_time() + 0.0005
    while time.thread_time() < end:
        pass


def test_calls_take_turns_in_alternating_order() -> None:
    calls: list[str] = []

    def call(name: str) -> None:
        calls.append(name)
        spin()

    times = take_turns(
        {name: lambda name=name: call(name) for name in ("a", "b")},  # type: ignore[misc]
        rounds=2,
        in_a_row=2,
        untimed=1,
    )
    # Where this machine disturbs the samples there are up to twice as many rounds.
    assert calls[:12] == [*"bbb", *"aaa", *"aaa", *"bbb"]
    assert len(calls) in (12, 18, 24)
    for of_one in times.values():
        assert len(of_one.ms) + of_one.num_dropped == len(calls) // 6 * 2


def test_the_memory_bound_reads_as_much_as_it_states() -> None:
    reader = MemoryReadBound(40_000)
    assert reader.nbytes == 40_000
    reader.read()
    # 40 kB in 0.01 ms are 4 GB/s.
    assert reader.gb_per_s(0.01) == pytest.approx(4.0)


def test_the_gemm_bound_counts_two_operations_for_each_of_its_products() -> None:
    gemm = GemmBound()
    product = np.asarray(gemm.multiply())
    assert gemm.flops == 2 * product.shape[0] * product.shape[1] * 512
    assert gemm.gflop_per_s(1.0) == pytest.approx(gemm.flops / 1e6)
