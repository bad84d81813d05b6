"""SwooshR and SwooshL, the activations of Zipformer.

Yao et al. 2024, section 3.4 (arXiv:2310.11230).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

SLOPE = 0.08
SWOOSH_L_OFFSET = 4.0
SWOOSH_R_OFFSET = 1.0


def swoosh_r(x: Tensor) -> Tensor:
    """`log(1 + exp(x - 1)) - 0.08 x - 0.313261687`: passes through the origin."""
    return functional.softplus(x - SWOOSH_R_OFFSET).sub_(0.313261687).sub_(x, alpha=SLOPE)


def swoosh_l(x: Tensor) -> Tensor:
    """`log(1 + exp(x - 4)) - 0.08 x - 0.035`: off around the origin, for feed-forwards."""
    return functional.softplus(x - SWOOSH_L_OFFSET).sub_(0.035).sub_(x, alpha=SLOPE)
