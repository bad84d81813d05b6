"""SwooshR and SwooshL, the activations of Zipformer.

Yao et al. 2024, section 3.4 (arXiv:2310.11230).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SLOPE = 0.08


@dataclass(frozen=True)
class Swoosh:
    """`log(1 + exp(x - offset)) - 0.08 x - drop`.

    With `x = u + shift` it is `log(exp(u) + exp(-gain)) - 0.08 u`, which has only one constant.
    The linear layer before it subtracts `shift` from its bias, at no cost.
    """

    offset: float
    drop: float

    @property
    def gain(self) -> float:
        return (SLOPE * self.offset + self.drop) / (1 - SLOPE)

    @property
    def shift(self) -> float:
        return self.offset + self.gain

    def __call__(self, x: Tensor) -> Tensor:
        return self.of_shifted(x - self.shift)

    def of_shifted(self, u: Tensor) -> Tensor:
        """The activation at `u + shift`."""
        return torch.logaddexp(u, u.new_full((), -self.gain)).sub(u, alpha=SLOPE)


swoosh_r = Swoosh(offset=1.0, drop=math.log1p(math.exp(-1.0)))  # passes through the origin
swoosh_l = Swoosh(offset=4.0, drop=0.035)  # almost flat around the origin; for feed-forwards
