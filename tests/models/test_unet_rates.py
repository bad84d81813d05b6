"""Between the frame rates: pairs become one frame, one frame becomes two, and stacks keep pace."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from slow_reference import moved

from echostream import ZipformerEncoder
from echostream.modules.frame_rate import Downsample, all_of_pairs, any_of_pairs, upsample

RATES = (50, 25, 12.5, 6.25, 12.5, 25)  # Hz


def downsample() -> Downsample:
    return cast("Downsample", moved(Downsample()))


def test_a_frame_of_half_the_rate_is_the_weighted_mean_of_its_pair() -> None:
    module = downsample()
    first, second = (math.exp(logit) for logit in module.logits.tolist())
    assert first != second
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    y = module(x, torch.ones(2, 6, dtype=torch.bool))
    assert y.shape == (2, 3, 3)
    for row in range(2):
        for frame in range(3):
            pair = x[row, 2 * frame], x[row, 2 * frame + 1]
            wanted = (first * pair[0] + second * pair[1]) / (first + second)
            torch.testing.assert_close(y[row, frame], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("logits", [(0.0, 0.0), (-3.0, 2.0), (40.0, -40.0)])
def test_the_weights_of_a_pair_sum_to_one(logits: tuple[float, float]) -> None:
    module = Downsample().double()
    with torch.no_grad():
        module.logits.copy_(torch.tensor(logits))
    constant = torch.full((1, 8, 2), 5.0, dtype=torch.float64)
    y = module(constant, torch.ones(1, 8, dtype=torch.bool))
    torch.testing.assert_close(y, constant[:, :4], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dead", [torch.nan, torch.inf, 1e6])
def test_a_frame_that_is_not_valid_counts_as_zero(dead: float) -> None:
    module = downsample()
    weights = module.logits.softmax(0)
    x = torch.randn(1, 8, 3, dtype=torch.float64)
    valid = torch.tensor([[True, True, True, False, False, True, False, False]])
    y = module(x.masked_fill(~valid[..., None], dead), valid)
    wanted = torch.stack(
        [
            weights[0] * x[0, 0] + weights[1] * x[0, 1],
            weights[0] * x[0, 2],
            weights[1] * x[0, 5],
            torch.zeros(3, dtype=torch.float64),
        ]
    )
    torch.testing.assert_close(y[0], wanted, rtol=0, atol=1e-12)


def test_upsampling_repeats_every_frame() -> None:
    x = torch.randn(2, 5, 3)
    y = upsample(x)
    assert y.shape == (2, 10, 3)
    for frame in range(10):
        assert torch.equal(y[:, frame], x[:, frame // 2])


def test_a_pair_is_valid_if_one_or_if_both_are() -> None:
    valid = torch.tensor([[a, b] for a in (False, True) for b in (False, True)]).reshape(1, 8)
    assert any_of_pairs(valid).tolist() == [[False, True, True, True]]
    assert all_of_pairs(valid).tolist() == [[False, False, False, True]]


def encoder() -> ZipformerEncoder:
    module = ZipformerEncoder(
        input_dim=6, embed_dim=8, num_heads=2, ffn_dim=16, left_context=8, memory_size=2
    )
    return cast("ZipformerEncoder", moved(module))


@pytest.mark.parametrize("groups", [1, 2, 10])
def test_the_stacks_run_at_their_true_rates(groups: int) -> None:
    x = torch.randn(2, 16 * groups, 6, dtype=torch.float64)
    with torch.no_grad():
        output = encoder()(x, torch.full((2,), 16 * groups), return_stacks=True)
    seconds = 0.16 * groups
    assert [y.shape for y in output.stack_outputs] == [
        (2, round(rate * seconds), 8) for rate in RATES
    ]
    assert output.encoder_out.shape == (2, round(25 * seconds), 8)


def test_the_stacks_are_returned_only_on_request() -> None:
    x = torch.randn(1, 32, 6, dtype=torch.float64)
    assert encoder()(x, torch.tensor([32])).stack_outputs == ()


@pytest.mark.parametrize("look_ahead", [0, 1])
def test_what_is_heard_in_a_group_appears_in_every_stack_at_its_time(look_ahead: int) -> None:
    """A rate that is only a shape would move the change."""
    module, groups, group = encoder(), 12, 7
    x = torch.randn(1, 16 * groups, 6, dtype=torch.float64)
    other = x.clone()
    other[:, 16 * group] += 1.0
    length = torch.tensor([16 * groups])
    with torch.no_grad():
        before = module(x, length, look_ahead, return_stacks=True).stack_outputs
        after = module(other, length, look_ahead, return_stacks=True).stack_outputs
    for rate, a, b in zip(RATES, before, after, strict=True):
        changed = (a - b)[0].abs().amax(1) > 1e-9  # (T,)
        seconds = int(changed.nonzero()[0]) / rate
        assert seconds == pytest.approx(0.16 * (group - look_ahead))
