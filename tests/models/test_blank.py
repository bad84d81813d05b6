"""Modules built to be filled from a file draw nothing, and outside all is as ever."""

from __future__ import annotations

import pytest
import torch
from tiny_model import tiny_config
from torch import nn

from echostream.models.build import build_model
from echostream.models.skip_init import skip_init

CONFIG = tiny_config(12, 15, decoder_layers=1)


def test_no_random_number_is_drawn() -> None:
    before = torch.get_rng_state()
    with skip_init():
        build_model(CONFIG)
    assert torch.equal(torch.get_rng_state(), before)
    build_model(CONFIG)
    assert not torch.equal(torch.get_rng_state(), before)


def test_a_state_dict_sets_every_tensor_of_a_blank_network() -> None:
    wanted = build_model(CONFIG)
    with skip_init():
        network = build_model(CONFIG)
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    assert tensors.keys() == network.state_dict().keys()  # nothing that is not saved
    for tensor in tensors.values():
        tensor.detach().copy_(torch.full_like(tensor, torch.nan))
    network.load_state_dict(wanted.state_dict())
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name


def test_outside_of_it_modules_draw_as_before() -> None:
    torch.manual_seed(3)
    wanted = build_model(CONFIG).state_dict()
    with pytest.raises(RuntimeError, match="stop"), skip_init():
        raise RuntimeError("stop")
    torch.manual_seed(3)
    found = build_model(CONFIG).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    assert nn.Linear(2, 2).weight.requires_grad
