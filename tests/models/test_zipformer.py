"""The encoder of the notes: its arguments, size and shapes; and its latency, to the sample."""

from __future__ import annotations

import inspect
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from slow_reference import moved
from tiny_model import babble
from torch import Tensor

from echostream import ZipformerEncoder
from echostream.frontend.fbank import fbank

GROUP_SAMPLES = 2560  # 160 ms


@pytest.fixture(scope="module")
def default_encoder() -> ZipformerEncoder:
    torch.manual_seed(0)
    return ZipformerEncoder().eval()


def small(max_future_frames: int = 0, input_dim: int = 80) -> ZipformerEncoder:
    """All contexts, kernels and layers of the default encoder, in narrow."""
    module = ZipformerEncoder(
        input_dim, embed_dim=16, num_heads=2, ffn_dim=32, max_future_frames=max_future_frames
    )
    return cast("ZipformerEncoder", moved(module))


def test_the_default_encoder_has_about_42_million_parameters(
    default_encoder: ZipformerEncoder,
) -> None:
    size = sum(parameter.numel() for parameter in default_encoder.parameters())
    assert 40_000_000 <= size <= 44_000_000


def test_the_arguments_are_those_of_the_notes_by_name() -> None:
    wanted = {
        "input_dim": 80,
        "embed_dim": 512,
        "num_heads": 8,
        "ffn_dim": 2048,
        "num_layers_per_stack": 2,
        "memory_size": 4,
        "max_future_frames": 0,
    }
    parameters = inspect.signature(ZipformerEncoder).parameters
    assert {name: parameters[name].default for name in wanted} == wanted
    encoder = ZipformerEncoder(
        input_dim=7, embed_dim=12, num_heads=3, ffn_dim=24,
        num_layers_per_stack=1, memory_size=5, max_future_frames=1,
    )  # fmt: skip
    with torch.no_grad():
        output = encoder(torch.randn(1, 32, 7), torch.tensor([32]))
    assert output.encoder_out.shape == (1, 8, 12)
    assert output.carry_over.shape == (1, 5, 12)
    assert [len(stack.blocks) for stack in encoder.stacks] == [1] * 6
    assert encoder.stacks[0].blocks[0].attention.num_heads == 3
    assert encoder.stacks[0].blocks[0].feed_forward_in.linear_in.out_features == 12
    assert encoder.algorithmic_latency_ms == 320


def test_the_default_encoder_gives_the_shapes_of_the_notes(
    default_encoder: ZipformerEncoder,
) -> None:
    with torch.inference_mode():
        output = default_encoder(torch.randn(2, 1000, 80), torch.tensor([1000, 777]))
    assert output.encoder_out.shape == (2, 250, 512)
    assert output.encoder_lengths.tolist() == [250, 194]
    assert output.carry_over.shape == (2, 4, 512)
    assert output.encoder_out[0].isfinite().all()
    assert output.encoder_out[1, :194].isfinite().all()
    assert not torch.allclose(output.carry_over[0], output.carry_over[1])


@pytest.mark.parametrize("num_frames", [1, 3, 4, 15, 16, 17, 63, 64, 65])
def test_four_frames_of_fbank_are_one_of_the_encoder(num_frames: int) -> None:
    with torch.no_grad():
        output = small(input_dim=5)(
            torch.randn(1, num_frames, 5, dtype=torch.float64), torch.tensor([num_frames])
        )
    assert output.encoder_out.shape == (1, num_frames // 4, 16)
    assert output.encoder_lengths.tolist() == [num_frames // 4]


@pytest.mark.parametrize("look_ahead", [3, -1])
def test_a_look_ahead_beyond_two_groups_is_refused(look_ahead: int) -> None:
    message = rf"`max_future_frames` must be 0, 1 or 2, but is {look_ahead} instead"
    encoder = small(input_dim=5)
    with pytest.raises(ValueError, match=message):
        small(look_ahead)
    with pytest.raises(ValueError, match=message):
        encoder(torch.zeros(1, 16, 5).double(), torch.tensor([16]), look_ahead)
    with pytest.raises(ValueError, match=message):
        encoder.init_state(1, look_ahead)


@pytest.mark.parametrize("num_frames", [0, 1, 8, 15, 17, 24, 31])
def test_a_chunk_that_is_not_whole_groups_is_refused(num_frames: int) -> None:
    encoder = small(input_dim=5)
    chunk = torch.zeros(1, num_frames, 5, dtype=torch.float64)
    with pytest.raises(ValueError, match=rf"`x` .*groups of 16 frames.* has {num_frames} frames"):
        encoder.step(chunk, encoder.init_state(1))


@pytest.mark.parametrize("num_frames", [16, 17, 32])
def test_a_tail_of_a_whole_group_is_refused(num_frames: int) -> None:
    encoder = small(input_dim=5)
    tail = torch.zeros(1, num_frames, 5, dtype=torch.float64)
    with pytest.raises(ValueError, match=rf"`tail` .* 16 frames .* has {num_frames} frames"):
        encoder.finish(encoder.init_state(1), tail)


@pytest.mark.parametrize("layers", [0, (1, 1, 1), (1, 1, 1, 1, 1, 0)])
def test_a_number_of_layers_that_makes_no_six_stacks_is_refused(layers: int) -> None:
    with pytest.raises(ValueError, match="`num_layers_per_stack` must be a whole number from 1 to"):
        ZipformerEncoder(embed_dim=8, num_heads=2, ffn_dim=8, num_layers_per_stack=layers)


def first_change(before: Tensor, after: Tensor) -> int:
    """The first frame (T, D) that differs."""
    changed = ((after - before).abs() > 1e-9).any(1)
    return int(changed.nonzero()[0])


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_the_latency_is_the_one_declared_in_frames(look_ahead: int) -> None:
    encoder = small(look_ahead, input_dim=5)
    latency = encoder.algorithmic_latency_ms // 10
    assert latency == 16 * (1 + look_ahead)
    x = torch.randn(1, 240, 5, dtype=torch.float64)
    length = torch.tensor([240])
    with torch.no_grad():
        whole = encoder(x, length).encoder_out[0]
        for time in (64, 80, 96):  # a frame of the encoder that has to wait for its whole group
            for moved_frame, is_seen in ((time + latency - 1, True), (time + latency, False)):
                other = x.clone()
                other[:, moved_frame] += 1.0
                first = first_change(whole, encoder(other, length).encoder_out[0])
                assert (first <= time // 4) is is_seen


def features(samples: NDArray[np.float32]) -> Tensor:
    """Real fbank frames, brought to the range that the encoder is made for: (1, T, 80)."""
    frames = fbank(samples).astype(np.float64)
    return torch.from_numpy((frames - 12.0) / 4.0)[None]


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_the_latency_is_the_one_declared_in_samples(look_ahead: int) -> None:
    """With the real front end: the fbank window of frame t ends at sample 160 (t + 1)."""
    encoder = small(look_ahead)
    latency = encoder.algorithmic_latency_ms * 16
    assert latency == GROUP_SAMPLES * (1 + look_ahead)
    samples = babble(2, seed=1)
    length = torch.tensor([len(samples) // 160])
    with torch.no_grad():
        whole = encoder(features(samples), length).encoder_out[0]  # (T, D)
        for group in (4, 5):
            time = GROUP_SAMPLES * group
            for offset in (-5, -1, 0, 1, 5):
                other = samples.copy()
                other[time + latency + offset] += 0.5
                first = first_change(whole, encoder(features(other), length).encoder_out[0])
                # Frame k of the encoder stands for sample 640 k, the first of its group for `time`.
                assert first == 4 * (group if offset < 0 else group + 1)
