"""Dropout and speed perturbation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_training import tiny_network

from echostream.data.utterance import Utterance
from echostream.models import build_model
from echostream.models.echostream import EchoStreamModel
from echostream.training.augment import change_speed
from echostream.training.dropout import add_dropout


@pytest.fixture
def network() -> EchoStreamModel:
    torch.manual_seed(0)
    return build_model(tiny_network())


def outputs(network: EchoStreamModel) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.ones(2, 64, 80), torch.tensor([64, 48])).st_logits


def test_dropout_acts_in_training_mode_only(network: EchoStreamModel) -> None:
    before = outputs(network.eval())
    add_dropout(network, 0.5)
    torch.testing.assert_close(outputs(network.eval()), before, rtol=0, atol=0)
    first, second = outputs(network.train()), outputs(network.train())
    assert not torch.equal(first, second) and not torch.equal(first, before)


def test_dropout_sets_that_share_of_each_sublayer_to_zero(network: EchoStreamModel) -> None:
    kept: list[float] = []
    add_dropout(network, 0.25)
    block = network.encoder.stacks[0].blocks[0]  # type: ignore[index, union-attr]
    for sublayer in (block.feed_forward_in, block.attention, block.conv):  # type: ignore[union-attr]
        sublayer.register_forward_hook(lambda _, __, y: kept.append((y != 0).double().mean()))
    for _ in range(20):
        outputs(network.train())
    assert np.mean(kept) == pytest.approx(0.75, abs=0.02)


def test_without_dropout_there_are_no_hooks(network: EchoStreamModel) -> None:
    assert not add_dropout(network, 0.0)


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_a_faster_recording_is_shorter_and_higher_and_so_are_its_word_times(speed: float) -> None:
    time = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    changed = change_speed(Utterance("a", tone, "un", "one", "", (0.5, 1.0)), speed)
    assert len(changed.samples) == round(16_000 / speed)
    assert changed.word_ends == pytest.approx((0.5 / speed, 1.0 / speed))
    spectrum = np.abs(np.fft.rfft(changed.samples))
    peak = spectrum.argmax() * 16_000 / len(changed.samples)
    assert peak == pytest.approx(1000 * speed, abs=2)
