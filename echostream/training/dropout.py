"""Dropout while a network is trained.

The modules have none: a network that is loaded or exported computes the same in every mode. The
training adds it from outside, to the output of each sublayer before the residual sum.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from echostream.modules.attention import CTSelfAttention
from echostream.modules.conv import CausalConvModule, ConvEmbed
from echostream.modules.cross_attention import CrossAttention
from echostream.modules.feed_forward import FeedForward

SUBLAYERS = (ConvEmbed, FeedForward, CTSelfAttention, CausalConvModule, CrossAttention)


def add_dropout(network: nn.Module, probability: float) -> list[RemovableHandle]:
    """Sets each number of the output of a sublayer to zero with `probability`; the rest is scaled.

    It acts in `forward` and in training mode only. Srivastava et al. 2014 (JMLR 15).

    Returns:
        the hooks, each of which `remove()` takes away.
    """

    def drop(module: nn.Module, _: object, output: Tensor) -> Tensor:
        return functional.dropout(output, probability, module.training)

    if not probability:
        return []
    return [
        module.register_forward_hook(drop)
        for module in network.modules()
        if isinstance(module, SUBLAYERS)
    ]
