"""CT self-attention is its definition, and a distance has one bias wherever it occurs."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from slow_reference import Floats, array, moved, slow_query
from torch import Tensor

from echostream.modules.attention import CTSelfAttention, MemorySlots

WIDTH, HEADS = 8, 2


def make(group: int, left: int, max_look_ahead: int = 2) -> CTSelfAttention:
    module = CTSelfAttention(
        WIDTH, HEADS, group, left * group, max_look_ahead=max_look_ahead, query_head_dim=3
    )
    return cast("CTSelfAttention", moved(module))


def slow_attention(
    module: CTSelfAttention,
    x: Floats,
    valid: list[bool],
    look_ahead: int,
    memory: tuple[Floats, list[list[bool]]] | None = None,
) -> Floats:
    """The valid frames (T, D) of one stream; others, which are not used, are zeros."""
    group, left = module.group, module.left_context // module.group
    y = np.zeros_like(x)
    for i, frame in enumerate(x):
        if not valid[i]:
            continue
        seen = []
        for j, other in enumerate(x):
            if valid[j] and i // group - left <= j // group <= i // group + look_ahead:
                seen.append((other, j - i))
        slots, visible = memory or ([], [[]] * len(x))
        summaries = [slot for slot, is_seen in zip(slots, visible[i], strict=True) if is_seen]
        y[i] = slow_query(module, frame, seen, summaries)
    return y


def assert_rows(found: Tensor, wanted: Floats, rows: list[bool] | None = None) -> None:
    keep = np.ones(len(wanted), bool) if rows is None else np.array(rows)
    np.testing.assert_allclose(array(found)[keep], wanted[keep], rtol=0, atol=1e-10)


@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("look_ahead", [0, 1, 2])
@pytest.mark.parametrize("left", [0, 1, 3])
def test_attention_is_its_definition(group: int, left: int, look_ahead: int) -> None:
    module = make(group, left)
    x = torch.randn(2, (left + look_ahead + 2) * group + 1, WIDTH, dtype=torch.float64)
    valid = torch.ones(x.shape[:2], dtype=torch.bool)
    y = module(x, valid, look_ahead)
    for row in range(2):
        assert_rows(y[row], slow_attention(module, array(x[row]), valid[row].tolist(), look_ahead))


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_frames_that_are_not_valid_are_not_attended(look_ahead: int) -> None:
    module = make(group=4, left=2)
    x = torch.randn(3, 25, WIDTH, dtype=torch.float64)
    valid = torch.rand(3, 25) < 0.6
    valid[0, :9] = False  # two groups of nothing, as before a stream begins
    y = module(x, valid, look_ahead)
    for row in range(3):
        rows = valid[row].tolist()
        assert_rows(y[row], slow_attention(module, array(x[row]), rows, look_ahead), rows)
    assert y.isfinite().all()


def test_memory_slots_follow_their_mask_and_have_no_position() -> None:
    module = make(group=4, left=1)
    x = torch.randn(2, 12, WIDTH, dtype=torch.float64)
    valid = torch.ones(2, 12, dtype=torch.bool)
    slots = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    visible = torch.rand(2, 12, 5) < 0.5
    visible[0, 3] = False
    assert visible.any() and not visible.all()
    y = module(x, valid, 1, MemorySlots(slots, visible))
    for row in range(2):
        memory = (array(slots[row]), visible[row].tolist())
        assert_rows(y[row], slow_attention(module, array(x[row]), [True] * 12, 1, memory))
    order = torch.tensor([4, 2, 0, 1, 3])
    shuffled = module(x, valid, 1, MemorySlots(slots[:, order], visible[:, :, order]))
    torch.testing.assert_close(shuffled, y, rtol=0, atol=1e-10)


def test_memory_that_is_masked_for_all_changes_nothing() -> None:
    module = make(group=4, left=1)
    x = torch.randn(2, 12, WIDTH, dtype=torch.float64)
    valid = torch.ones(2, 12, dtype=torch.bool)
    hidden = MemorySlots(100 * torch.randn(2, 3, WIDTH).double(), torch.zeros(2, 12, 3).bool())
    torch.testing.assert_close(module(x, valid, 0, hidden), module(x, valid, 0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("look_ahead", [0, 2])
def test_the_bias_of_a_distance_is_the_same_wherever_it_occurs(group: int, look_ahead: int) -> None:
    """Queries of zero leave the biases alone; one-hot frames then show the attention weights."""
    num_frames = 28
    module = CTSelfAttention(num_frames, 1, group, 3 * group, max_look_ahead=2).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.position_bias.copy_(torch.randn(module.position_bias.shape))
        module.project_in.weight[sum(module.head_dims[:2]) :] = torch.eye(num_frames)
        module.project_out.weight.copy_(torch.eye(num_frames))
    x = torch.eye(num_frames, dtype=torch.float64)[None]
    y = module(x, torch.ones(1, num_frames, dtype=torch.bool), look_ahead)
    weights = y[0].detach()  # (Tq, Tk)

    biases: dict[int, set[float]] = {}
    for i in range(num_frames):
        for j in range(num_frames):
            if weights[i, j] > 0:
                bias = float((weights[i, j] / weights[i, i]).log())
                biases.setdefault(j - i, set()).add(round(bias, 9))
    assert all(len(values) == 1 for values in biases.values())
    assert set(biases) == set(range(-4 * group + 1, group * (1 + look_ahead)))
    assert len(set.union(*biases.values())) == len(biases)  # and another for each distance


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_a_frame_late_in_a_recording_is_computed_as_early(look_ahead: int) -> None:
    module = make(group=4, left=2)
    x = torch.randn(1, 60, WIDTH, dtype=torch.float64)
    valid = torch.ones(1, 60, dtype=torch.bool)
    whole = module(x, valid, look_ahead)
    later = module(x[:, 20:], valid[:, 20:], look_ahead)
    torch.testing.assert_close(later[:, 8:], whole[:, 28:], rtol=0, atol=1e-10)


def test_a_width_that_the_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`embed_dim` must be a multiple of 4 heads.* is 10 "):
        CTSelfAttention(10, 4, 4, 8)


@pytest.mark.parametrize("left_context", [1, 6, 15])
def test_a_left_context_that_is_not_whole_groups_is_refused(left_context: int) -> None:
    with pytest.raises(ValueError, match=rf"`left_context` .*group of 4 .* is {left_context} "):
        CTSelfAttention(WIDTH, HEADS, 4, left_context)
