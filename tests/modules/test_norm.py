"""BiasNorm, the Swoosh functions and the feed-forward are their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from echostream.modules.activation import swoosh_l, swoosh_r
from echostream.modules.feed_forward import FeedForward
from echostream.modules.norm import BiasNorm

POINTS = [-30.0, -4.0, -1.0, -0.1, 0.0, 0.1, 1.0, 3.0, 4.0, 30.0]


@pytest.mark.parametrize("width", [1, 3, 8])
def test_bias_norm_is_the_formula_of_the_paper(width: int) -> None:
    """x / RMS(x - b) * exp(g), channel by channel."""
    norm = BiasNorm(width).double()
    with torch.no_grad():
        norm.bias.copy_(torch.randn(width))
        norm.log_scale.fill_(0.7)
    x = torch.randn(2, 3, width, dtype=torch.float64)
    y = norm(x)
    bias = norm.bias.tolist()
    for vector, found in zip(x.flatten(0, 1).tolist(), y.flatten(0, 1).tolist(), strict=True):
        square = sum((value - b) ** 2 for value, b in zip(vector, bias, strict=True))
        rms = math.sqrt(square / width)
        assert found == pytest.approx([value / rms * math.exp(0.7) for value in vector], rel=1e-6)


def test_bias_norm_removes_no_mean() -> None:
    constant = torch.full((1, 8), 5.0)
    assert torch.nn.functional.layer_norm(constant, (8,)).abs().max() == 0
    torch.testing.assert_close(BiasNorm(8)(constant), torch.ones(1, 8))


def test_the_bias_lets_a_vector_keep_its_length() -> None:
    norm = BiasNorm(2)
    x = torch.tensor([[0.1, 0.0], [10.0, 0.0]])
    lengths = norm(x).detach().norm(dim=1)
    assert lengths[0] == pytest.approx(float(lengths[1]), rel=1e-5)
    with torch.no_grad():
        norm.bias[1] = 3.0
    lengths = norm(x).detach().norm(dim=1)
    assert lengths[0] < 0.1 * lengths[1]


def test_bias_norm_of_silence_is_silence() -> None:
    x = torch.zeros(1, 4, requires_grad=True)
    y = BiasNorm(4)(x)
    y.sum().backward()
    assert y.abs().max() == 0
    assert x.grad is not None and x.grad.isfinite().all()


def test_there_is_one_scale_for_all_channels() -> None:
    shapes = {name: tuple(p.shape) for name, p in BiasNorm(6).named_parameters()}
    assert shapes == {"bias": (6,), "log_scale": ()}


@pytest.mark.parametrize("x", POINTS)
def test_the_swoosh_functions_are_their_formulas(x: float) -> None:
    argument = torch.tensor([x], dtype=torch.float64)
    wanted_r = math.log(1 + math.exp(x - 1)) - 0.08 * x - 0.313261687
    wanted_l = math.log(1 + math.exp(x - 4)) - 0.08 * x - 0.035
    assert float(swoosh_r(argument)) == pytest.approx(wanted_r, abs=1e-6)
    assert float(swoosh_l(argument)) == pytest.approx(wanted_l, abs=1e-6)
    assert float(argument) == x  # in place inside, not outside


def test_swoosh_r_passes_through_the_origin() -> None:
    assert abs(float(swoosh_r(torch.zeros(1, dtype=torch.float64)))) < 1e-6
    assert abs(float(swoosh_r(torch.zeros(1)))) < 1e-6


def test_swoosh_l_is_off_around_the_origin() -> None:
    near = swoosh_l(torch.linspace(-1, 1, 21))
    assert near.abs().max() < 0.12
    slope = float(swoosh_l(torch.tensor(0.01)) - swoosh_l(torch.tensor(-0.01))) / 0.02
    assert slope == pytest.approx(-0.06, abs=0.005)


@pytest.mark.parametrize("function", [swoosh_l, swoosh_r])
def test_the_swoosh_functions_have_the_gradient_of_their_formula(function) -> None:  # type: ignore[no-untyped-def]
    x = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, x)


def test_the_feed_forward_is_linear_swoosh_linear() -> None:
    module = FeedForward(3, 5).double()
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    (w1, b1), (w2, b2) = (
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in (module.linear_in, module.linear_out)
    )
    y = module(x).detach().numpy()
    for row in range(2):
        for frame in range(4):
            hidden = w1 @ x[row, frame].numpy() + b1
            active = [math.log(1 + math.exp(h - 4)) - 0.08 * h - 0.035 for h in hidden]
            np.testing.assert_allclose(y[row, frame], w2 @ np.array(active) + b2, atol=1e-12)


def test_a_feed_forward_starts_where_swoosh_l_has_the_shape_of_swoosh_r() -> None:
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    gap = swoosh_l(x + 3.0) - swoosh_r(x)
    torch.testing.assert_close(gap, gap[:1].expand_as(gap), rtol=0, atol=1e-12)
    module = FeedForward(8, 32)
    assert module.linear_in.bias.tolist() == [3.0] * 32
    assert module.linear_out.bias.tolist() == [0.0] * 8


def test_a_feed_forward_does_not_start_almost_linear() -> None:
    module = FeedForward(64, 128).double()
    x = torch.randn(800, 64, dtype=torch.float64)
    as_made = share_beyond_a_line(module, x)
    for layer in (module.linear_in, module.linear_out):
        layer.reset_parameters()  # the usual initialisation, for comparison
    with torch.no_grad():
        module.linear_in.bias.zero_()
    usual = share_beyond_a_line(module, x)
    assert usual < 0.2 < 0.4 < as_made


def share_beyond_a_line(module: FeedForward, x: Tensor) -> float:
    """How much of the output the best affine map of the input does not explain, 0 to 1."""
    with torch.no_grad():
        y = module(x)
        y = y - y.mean(0)
        inputs = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
        rest = y - inputs @ torch.linalg.lstsq(inputs, y).solution
    return float(rest.square().sum().div(y.square().sum()).sqrt())
