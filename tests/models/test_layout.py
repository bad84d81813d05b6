"""Frames lie in memory as they are read: a layout is inherited from layer to layer, and slow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echostream import ZipformerEncoder
from echostream.modules.feed_forward import FeedForward


def test_every_linear_layer_of_a_step_is_given_frames_in_rows() -> None:
    encoder = ZipformerEncoder(embed_dim=16, num_heads=2, ffn_dim=32, num_layers_per_stack=2).eval()
    strides: dict[str, tuple[int, ...]] = {}

    def look(name: str) -> object:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if not inputs[0].is_contiguous():
                strides[name] = inputs[0].stride()

        return hook

    watched = 0
    for name, module in encoder.named_modules():
        if isinstance(module, (nn.Linear, FeedForward)):
            module.register_forward_pre_hook(look(name))
            watched += 1
    with torch.inference_mode():
        for batch in (1, 3):
            encoder.step(torch.randn(batch, 32, 80), encoder.init_state(batch))
    assert watched > 6 * 2 * 6
    assert strides == {}
