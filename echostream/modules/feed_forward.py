"""Feed-forward module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echostream.modules.activation import SWOOSH_L_OFFSET, SWOOSH_R_OFFSET, swoosh_l


class FeedForward(nn.Module):
    """Zipformer's feed-forward: linear, SwooshL, linear, `(B, T, D)` to `(B, T, D)`.

    Around zero SwooshL is a line of slope -0.06, so after a usual initialisation the module would
    start almost linear. So the first bias starts at 3, where SwooshL has the shape that SwooshR has
    around zero, and the first weights at twice their usual size; training moves them from there.
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.linear_in = nn.Linear(dim, hidden_dim)
        self.linear_out = nn.Linear(hidden_dim, dim)
        with torch.no_grad():
            self.linear_in.weight.mul_(2.0)
            self.linear_in.bias.fill_(SWOOSH_L_OFFSET - SWOOSH_R_OFFSET)
            self.linear_out.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_out(swoosh_l(self.linear_in(x)))  # type: ignore[no-any-return]
