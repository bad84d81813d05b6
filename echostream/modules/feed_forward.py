"""Feed-forward module."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.modules.activation import swoosh_l, swoosh_r
from echostream.ranges import check_size


class FeedForward(nn.Module):
    """Zipformer's feed-forward: linear, SwooshL, linear, `(B, T, D)` to `(B, T, D)`.

    Around zero SwooshL is almost linear, with slope -0.06, and so would be the module after the
    usual initialisation. Therefore the first bias starts at 3, where SwooshL has the shape of
    SwooshR around zero, and the first weights at twice their usual size.
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        check_size("dim", dim)
        check_size("hidden_dim", hidden_dim)
        self.linear_in = nn.Linear(dim, hidden_dim)
        self.linear_out = nn.Linear(hidden_dim, dim)
        with torch.no_grad():
            self.linear_in.weight.mul_(2.0)
            self.linear_in.bias.fill_(swoosh_l.offset - swoosh_r.offset)
            self.linear_out.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.linear(x, self.linear_in.weight, self.linear_in.bias - swoosh_l.shift)
        return self.linear_out(swoosh_l.of_shifted(hidden))  # type: ignore[no-any-return]
