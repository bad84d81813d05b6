"""The optimizers of a training: AdamW, and ScaledAdam, whose step is relative to the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from echostream.training.config import OptimConfig

BETAS = (0.9, 0.98)
EPS = 1e-8
# Of ScaledAdam: the learning rate of the size of a tensor, relative to that of its direction; the
# least and the greatest size; and the share of the learning rate with which scalars move.
SIZE_RATE = 0.1
LEAST_RMS, GREATEST_RMS = 1e-5, 3.0
SCALAR_RATE = 0.1


def make_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """The optimizer that the configuration names, for all weights of a model."""
    if config.name == "scaled_adam":
        return ScaledAdam(model.parameters(), config.lr)
    return torch.optim.AdamW(
        model.parameters(),
        lr=config.lr,
        betas=BETAS,
        weight_decay=config.weight_decay,
        # One kernel for all weights; PyTorch has it on the CPU from 2.4 on.
        fused=torch.__version__ >= "2.4",  # compares as versions do
    )


def moments_of(optimizer: Optimizer) -> tuple[set[str], set[str]]:
    """What it keeps of each weight: the names of tensors of the weight's shape, and of scalars."""
    if isinstance(optimizer, ScaledAdam):
        return {"mean", "square"}, {"step", "size_mean", "size_square"}
    return {"exp_avg", "exp_avg_sq"}, {"step"}


class ScaledAdam(Optimizer):
    """Adam whose step is relative to the RMS of each tensor, and which also learns that RMS.

    The size of a tensor is moved by a second Adam, on its logarithm, the gradient of which is the
    inner product of gradient and weights. So tensors of all sizes change at the same relative rate,
    and no weight decay is needed. Scalars move as by Adam. Source: Zipformer, Yao et al., ICLR
    2024, section 3.5 (https://arxiv.org/abs/2310.11230).
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, betas: tuple[float, float] = BETAS
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves all weights that have a gradient. There is no `closure`."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    _move(weight, weight.grad, self.state[weight], group)


def _move(weight: Tensor, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    if not state:
        one = weight.new_zeros(())
        state.update(step=torch.zeros(()), size_mean=one, size_square=one.clone())
        state.update(mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
    beta1, beta2 = group["betas"]
    state["step"] += 1
    step = float(state["step"])
    # Both averages start at zero; this is what is missing from them so far.
    rate = group["lr"] * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
    direction = _averaged(grad, state["mean"], state["square"], group["betas"])
    if weight.numel() == 1:
        weight.sub_(direction, alpha=SCALAR_RATE * rate)
        return
    rms = weight.square().mean().sqrt()
    by_size = (grad * weight).sum()
    change = (
        -SIZE_RATE
        * rate
        * _averaged(by_size, state["size_mean"], state["size_square"], group["betas"])
    )
    # Beyond the bounds the size moves back only.
    change = torch.where(rms < LEAST_RMS, change.clamp(min=0), change)
    change = torch.where(rms > GREATEST_RMS, change.clamp(max=0), change)
    weight.add_(weight * change - rate * rms.clamp(min=LEAST_RMS) * direction)


def _averaged(grad: Tensor, mean: Tensor, square: Tensor, betas: tuple[float, float]) -> Tensor:
    """Adam's direction, of averages that this updates; without the correction of their start."""
    mean.lerp_(grad, 1 - betas[0])
    square.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
    return mean / (square.sqrt() + EPS)
