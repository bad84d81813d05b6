"""ScaledAdam: its step is relative to the size of each tensor, which it learns as well."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from tiny_training import tiny_run
from torch import Tensor, nn

from echostream.config import ConfigError
from echostream.training.checkpoint_file import CheckpointError, read_optimizer
from echostream.training.config import OptimConfig
from echostream.training.optimizer import (
    GREATEST_RMS,
    LEAST_RMS,
    SCALAR_RATE,
    SIZE_RATE,
    ScaledAdam,
    make_optimizer,
)
from echostream.training.train import train

LR = 0.03


def slow_steps(weight: Tensor, grads: list[Tensor]) -> Tensor:
    """The weights after some steps, number by number, with averages that are sums of their past."""
    values, history = weight.flatten().tolist(), list[list[float]]()
    sizes = list[float]()

    def adam(past: list[float]) -> float:
        n = len(past)
        mean = sum(0.1 * 0.9 ** (n - 1 - i) * g for i, g in enumerate(past)) / (1 - 0.9**n)
        square = sum(0.02 * 0.98 ** (n - 1 - i) * g * g for i, g in enumerate(past))
        return mean * math.sqrt(1 - 0.98**n) / (math.sqrt(square) + 1e-8)

    for grad in grads:
        history.append(grad.flatten().tolist())
        sizes.append(sum(g * v for g, v in zip(history[-1], values, strict=True)))
        rms = math.sqrt(sum(v * v for v in values) / len(values))
        directions = [adam([past[i] for past in history]) for i in range(len(values))]
        if len(values) == 1:
            values = [values[0] - SCALAR_RATE * LR * directions[0]]
            continue
        grow = -SIZE_RATE * LR * adam(sizes)
        if rms > GREATEST_RMS:
            grow = min(grow, 0)
        if rms < LEAST_RMS:
            grow = max(grow, 0)
        step = LR * max(rms, LEAST_RMS)
        values = [v + v * grow - step * d for v, d in zip(values, directions, strict=True)]
    return torch.tensor(values, dtype=weight.dtype).reshape(weight.shape)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (3, 4)])
@pytest.mark.parametrize("size", [0.0, 1e-7, 0.02, 1.0, 40.0])
def test_a_step_is_that_of_a_loop_over_the_numbers(shape: tuple[int, ...], size: float) -> None:
    generator = torch.Generator().manual_seed(3)
    draw = torch.randn(5, *shape, generator=generator, dtype=torch.float64)
    weight, grads = nn.Parameter(size * draw[0]), list(draw[1:])
    before = weight.detach().clone()
    optimizer = ScaledAdam([weight], LR)
    for grad in grads:
        weight.grad = grad.clone()
        optimizer.step()
    torch.testing.assert_close(weight.detach(), slow_steps(before, grads), rtol=1e-6, atol=1e-12)


def test_the_size_of_the_gradient_does_not_matter_and_a_weight_without_one_stays() -> None:
    ends = []
    for scale in (1.0, 1e4):
        moved, still = nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.ones(3))
        optimizer = ScaledAdam([moved, still], LR)
        moved.grad = scale * torch.tensor([0.3, 0.1])
        optimizer.step()
        assert still.tolist() == [1, 1, 1]
        ends.append(moved.detach())
    torch.testing.assert_close(ends[0], ends[1])


def test_it_finds_a_minimum_that_is_of_another_size() -> None:
    weight, goal = nn.Parameter(torch.full((8,), 0.01)), torch.linspace(-2, 2, 8)
    optimizer = ScaledAdam([weight], LR)
    for step in range(1500):
        optimizer.param_groups[0]["lr"] = LR / math.hypot(1, step / 200)
        weight.grad = 2 * (weight.detach() - goal)
        optimizer.step()
    torch.testing.assert_close(weight.detach(), goal, rtol=0, atol=0.02)


def test_a_run_with_it_resumes_with_the_same_weights(tmp_path: Path) -> None:
    optim = OptimConfig(name="scaled_adam", schedule="eden", lr=LR, warmup_steps=2)
    whole = dataclasses.replace(tiny_run(tmp_path), optim=optim, keep_checkpoints=1)
    train(dataclasses.replace(whole, output=str(tmp_path / "whole")))
    train(dataclasses.replace(whole, steps=3))
    train(whole)  # the schedule does not depend on the number of steps
    ends = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "run")]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_a_checkpoint_of_another_optimizer_is_refused() -> None:
    layer = nn.Linear(2, 2)
    states = {}
    for name in ("adamw", "scaled_adam"):
        optimizer = make_optimizer(layer, OptimConfig(name=name))
        layer(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        states[name] = optimizer.state_dict()
    for name, other in (("adamw", "scaled_adam"), ("scaled_adam", "adamw")):
        optimizer = make_optimizer(layer, OptimConfig(name=name))
        read_optimizer(states[name], optimizer)
        with pytest.raises(CheckpointError, match="of each parameter, but has others"):
            read_optimizer(states[other], optimizer)


@pytest.mark.parametrize("key", ["name", "schedule"])
def test_an_optimizer_or_schedule_that_there_is_not_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"`optim.{key}` must be one of"):
        OptimConfig(**{key: "sgd"})
