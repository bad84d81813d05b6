"""The memory bank against a loop over the groups of one stream."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch
from slow_reference import Floats, array, moved, slow_query
from torch import Tensor

from echostream.modules.memory_bank import MemoryBank

WIDTH, HEADS, GROUP, LEFT_GROUPS = 8, 2, 4, 2
SEGMENT_GROUPS = 8  # 1.28 s
SEGMENT = 32  # frames


def make(memory_size: int) -> MemoryBank:
    bank = MemoryBank(WIDTH, HEADS, memory_size, GROUP, LEFT_GROUPS * GROUP)
    return cast("MemoryBank", moved(bank))


def slow_bank(module: MemoryBank, x: Floats) -> tuple[Floats, list[Floats]]:
    """One stream (T, D) of whole groups: its output (T, D), and all summaries ever made."""
    weight, bias = array(module.summarise.weight), array(module.summarise.bias)
    summaries: list[Floats] = []
    rows = []
    for group in range(len(x) // GROUP):
        first, stop = group * GROUP, (group + 1) * GROUP
        seen = range(max(0, first - LEFT_GROUPS * GROUP), stop)
        remembered = summaries[-module.memory_size :] if module.memory_size else []
        for i in range(first, stop):
            others = [(x[j], j - i) for j in seen]
            h = x[i] + slow_query(module.attention, x[i], others, remembered)
            rms = math.sqrt(np.mean((h - array(module.norm.bias)) ** 2))
            rows.append(h / rms * math.exp(module.norm.log_scale.item()))
        if stop % SEGMENT == 0:  # seen from the next group on
            summaries.append(weight @ x[stop - SEGMENT : stop].mean(axis=0) + bias)
    return np.stack(rows), summaries


def assert_bank(bank: Tensor, filled: Tensor, summaries: list[Floats]) -> None:
    """The bank (M, D) of one stream holds the last M summaries, the newest last."""
    memory_size = len(bank)
    kept = summaries[max(0, len(summaries) - memory_size) :]
    assert filled.tolist() == [False] * (memory_size - len(kept)) + [True] * len(kept)
    for slot, summary in zip(bank[memory_size - len(kept) :], kept, strict=True):
        np.testing.assert_allclose(array(slot), summary, rtol=0, atol=1e-10)


def ones(x: Tensor) -> Tensor:
    return torch.ones(x.shape[:2], dtype=torch.bool)


# Round the ends of segments, and until the oldest summaries have left the bank.
@pytest.mark.parametrize("num_groups", [1, 7, 8, 9, 15, 16, 17, 33])
@pytest.mark.parametrize("memory_size", [0, 1, 2, 3])
def test_forward_is_the_loop(memory_size: int, num_groups: int) -> None:
    module = make(memory_size)
    x = torch.randn(2, num_groups * GROUP, WIDTH, dtype=torch.float64)
    y, carry_over = module(x, ones(x))
    assert carry_over.shape == (2, memory_size, WIDTH)
    for row in range(2):
        wanted, summaries = slow_bank(module, array(x[row]))
        np.testing.assert_allclose(array(y[row]), wanted, rtol=0, atol=1e-10)
        count = min(memory_size, num_groups // SEGMENT_GROUPS)
        filled = torch.arange(memory_size) >= memory_size - count
        assert_bank(carry_over[row], filled, summaries)


def test_the_ring_keeps_the_last_summaries_at_every_group() -> None:
    module = make(memory_size=2)
    x = torch.randn(1, 5 * SEGMENT, WIDTH, dtype=torch.float64)
    wanted, summaries = slow_bank(module, array(x[0]))
    assert len(summaries) == 5
    state = module.init_state(1)
    for group in range(5 * SEGMENT_GROUPS):
        chunk = x[:, group * GROUP : (group + 1) * GROUP]
        y, state = module.step(chunk, ones(chunk), state)
        rows = wanted[group * GROUP : (group + 1) * GROUP]
        np.testing.assert_allclose(array(y[0]), rows, rtol=0, atol=1e-10)
        done = (group + 1) // SEGMENT_GROUPS
        assert_bank(state.bank[0], state.filled[0], summaries[:done])
        assert state.num_groups.tolist() == [(group + 1) % SEGMENT_GROUPS]


@pytest.mark.parametrize("late_by", [1, 3, 8, 11])
@pytest.mark.parametrize("chunk_groups", [1, 3, 20])
def test_streams_of_one_batch_may_be_in_other_places_of_their_segments(
    late_by: int, chunk_groups: int
) -> None:
    module = make(memory_size=2)
    num_groups, delays = 40, (0, late_by)
    x = torch.randn(2, num_groups * GROUP, WIDTH, dtype=torch.float64)
    frames = torch.arange(num_groups * GROUP)
    valid = torch.stack([frames >= delay * GROUP for delay in delays])
    state = module.init_state(2)
    outputs = []
    for start in range(0, num_groups * GROUP, chunk_groups * GROUP):
        part = slice(start, start + chunk_groups * GROUP)
        y, state = module.step(x[:, part], valid[:, part], state)
        outputs.append(y)
    whole = torch.cat(outputs, dim=1)
    for row, delay in enumerate(delays):
        wanted, summaries = slow_bank(module, array(x[row, delay * GROUP :]))
        found = array(whole[row, delay * GROUP :])
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)
        assert_bank(state.bank[row], state.filled[row], summaries)
        assert state.num_groups[row] == (num_groups - delay) % SEGMENT_GROUPS


def test_empty_slots_are_not_attended_whatever_they_hold() -> None:
    module = make(memory_size=3)
    x = torch.randn(1, SEGMENT + GROUP, WIDTH, dtype=torch.float64)
    clean = module.init_state(1)
    loud = clean._replace(bank=clean.bank + 100.0)
    y, _ = module.step(x, ones(x), clean)
    z, _ = module.step(x, ones(x), loud)
    torch.testing.assert_close(y, z, rtol=0, atol=1e-10)
    filled = loud._replace(filled=torch.ones_like(loud.filled))
    assert (module.step(x, ones(x), filled)[0] - y).abs().max() > 1e-3  # they would have mattered


def test_a_summary_is_seen_by_the_group_after_its_segment_and_until_the_ring_is_full() -> None:
    """A change so far back that only a summary of it can reach the groups that change."""
    module = make(memory_size=2)
    num_groups = 6 * SEGMENT_GROUPS
    x = torch.randn(1, num_groups * GROUP, WIDTH, dtype=torch.float64)
    other = x.clone()
    other[:, SEGMENT] += 1.0  # the first frame of the second segment
    change = (module(other, ones(x))[0] - module(x, ones(x))[0])[0].abs()  # (T, D)
    by_group = change.reshape(num_groups, -1).amax(1)
    direct = range(SEGMENT_GROUPS, SEGMENT_GROUPS + 1 + LEFT_GROUPS)
    remembered = range(2 * SEGMENT_GROUPS, 4 * SEGMENT_GROUPS)
    for group, size in enumerate(by_group.tolist()):
        if group in direct or group in remembered:
            assert size > 1e-6, f"group {group} does not see it"
        else:
            assert size < 1e-12, f"group {group} sees it"


def test_the_bank_belongs_to_the_stream_and_not_to_the_module() -> None:
    module = make(memory_size=2)
    x = torch.randn(2, 2 * SEGMENT, WIDTH, dtype=torch.float64)
    first = module(x[:1], ones(x[:1]))
    module(x[1:], ones(x[1:]))
    again = module(x[:1], ones(x[:1]))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert set(module.state_dict()) == {name for name, _ in module.named_parameters()}
