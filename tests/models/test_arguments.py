"""Arguments from Python: a size, shape or type that is not allowed is named, with what is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import tiny_config
from torch import Tensor

from echostream.models import EchoStreamModel, ZipformerEncoder, build_model
from echostream.models.ctc import AsrHead, StHead
from echostream.models.text_decoder import TextDecoder
from echostream.models.zipformer import max_future_frames_of
from echostream.modules.attention import CTSelfAttention
from echostream.modules.conv import CausalConvModule, ConvEmbed
from echostream.modules.cross_attention import CrossAttention
from echostream.modules.feed_forward import FeedForward
from echostream.modules.memory_bank import MemoryBank

SIZES: dict[str, Any] = {
    "input_dim": 5,
    "embed_dim": 8,
    "num_heads": 2,
    "ffn_dim": 8,
    "num_layers_per_stack": 1,
    "left_context": 8,
    "conv_kernel": 3,
}
NO_SIZES = [0, -4, 1.5, True, "8", None, 10**12, torch.tensor(8)]


@pytest.fixture(scope="module")
def encoder() -> ZipformerEncoder:
    return ZipformerEncoder(**SIZES).eval()


@pytest.fixture(scope="module")
def model() -> EchoStreamModel:
    return build_model(tiny_config(9, 7, decoder_layers=1)).eval()


@pytest.mark.parametrize("value", NO_SIZES, ids=repr)
@pytest.mark.parametrize("name", [*SIZES, "memory_size"])
def test_a_size_of_the_encoder_that_is_none_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be a whole number from \d+ to \d+.*but"):
        ZipformerEncoder(**{**SIZES, name: value})


def test_sizes_of_an_encoder_may_be_whole_numbers_of_numpy(encoder: ZipformerEncoder) -> None:
    sizes = {name: np.int64(value) for name, value in SIZES.items()}
    same = ZipformerEncoder(**sizes, max_future_frames=np.int64(1))
    same.load_state_dict(encoder.state_dict())
    x = torch.randn(2, 32, 5)
    with torch.no_grad():
        found, _ = same.eval().step(x, same.init_state(np.int64(2), np.int64(0)))
        assert torch.equal(found, encoder.step(x, encoder.init_state(2))[0])


@pytest.mark.parametrize("layers", [[1] * 5, [], [1, 1, 1, 1, 1, 0], [1.0] * 6, "111111"])
def test_layers_that_are_not_six_numbers_are_refused(layers: Any) -> None:
    with pytest.raises(ValueError, match=r"`num_layers_per_stack` must be .* a list of 6 of them"):
        ZipformerEncoder(**{**SIZES, "num_layers_per_stack": layers})


@pytest.mark.parametrize("value", [3, -1, 1.0, True, "1"])
def test_a_look_ahead_that_is_none_is_refused(
    encoder: ZipformerEncoder, model: EchoStreamModel, value: Any
) -> None:
    message = "`max_future_frames` must be .*0, 1.*but is .* instead"
    frames, lengths = torch.zeros(1, 16, 5), torch.tensor([16])
    for call in (
        lambda: ZipformerEncoder(**SIZES, max_future_frames=value),
        lambda: encoder.init_state(1, value),
        lambda: encoder(frames, lengths, value),
        lambda: model.init_state(1, value),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("value", [0, -1, 1.0, True, None, "2"], ids=repr)
def test_a_state_is_of_one_stream_at_least(
    encoder: ZipformerEncoder, model: EchoStreamModel, value: Any
) -> None:
    assert model.decoder is not None
    for part in (encoder, model, model.st_head, model.decoder):
        with pytest.raises(ValueError, match="`batch_size` must be a whole number, at least 1"):
            part.init_state(value)


FRAMES, LENGTHS = torch.zeros(2, 20, 5), torch.tensor([20, 7])


@pytest.mark.parametrize(
    ("frames", "lengths", "message"),
    [
        (FRAMES[0], LENGTHS, r"`src_tokens` must have shape \(B, T, 5\), but has shape \(20, 5\)"),
        (FRAMES[..., :4], LENGTHS, r"`src_tokens` must have shape .* \(2, 20, 4\) instead"),
        (FRAMES[:0], LENGTHS[:0], r"`src_tokens` must have shape .* \(0, 20, 5\) instead"),
        (FRAMES.double(), LENGTHS, r"`src_tokens` must be of torch.float32.* torch.float64"),
        (FRAMES.long(), LENGTHS, r"`src_tokens` must be of torch.float32.* torch.int64"),
        (FRAMES.numpy(), LENGTHS, r"`src_tokens` must be a tensor, but is .*ndarray"),
        (None, LENGTHS, r"`src_tokens` must be a tensor"),
        (FRAMES[:, :0], LENGTHS * 0, r"`src_lengths` must be .* for 0 frames"),
        (FRAMES, [20, 7], r"`src_lengths` must be a tensor, but is \[20, 7\]"),
        (FRAMES, LENGTHS[:1], r"`src_lengths` must be 2 whole numbers.* of shape \(1,\) instead"),
        (FRAMES, LENGTHS[:, None], r"`src_lengths` must be 2 whole numbers.* \(2, 1\) instead"),
        (FRAMES, LENGTHS.float(), r"`src_lengths` must be 2 whole numbers.*but is torch.float32"),
        (FRAMES, LENGTHS > 0, r"`src_lengths` must be 2 whole numbers.*but is torch.bool"),
        (FRAMES, LENGTHS + 1, r"`src_lengths` must be from 0 .* \[21, 8\] for 20 frames"),
        (FRAMES, LENGTHS - 8, r"`src_lengths` must be from 0 .* \[12, -1\] for 20 frames"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(
    encoder: ZipformerEncoder, frames: Any, lengths: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encoder(frames, lengths)


def test_a_network_counts_the_frames_that_there_are_and_not_its_padding(
    model: EchoStreamModel,
) -> None:
    with pytest.raises(ValueError, match=r"`src_lengths` must be .* \[18\] for 17 frames"):
        model(torch.zeros(1, 17, 80), torch.tensor([18]))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(2, 24, 5), "`x` must be whole groups of 16 frames .* has 24 frames"),
        (torch.zeros(2, 0, 5), "`x` must be whole groups of 16 frames .* has 0 frames"),
        (torch.zeros(3, 16, 5), r"`x` must have shape \(2, T, 5\), but has shape \(3, 16, 5\)"),
        (torch.zeros(2, 16, 6), r"`x` must have shape \(2, T, 5\), but has shape \(2, 16, 6\)"),
        (torch.zeros(16, 5), r"`x` must have shape \(2, T, 5\), but has shape \(16, 5\)"),
        (torch.zeros(2, 16, 5, dtype=torch.float16), "`x` must be of torch.float32"),
        ("x", "`x` must be a tensor"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused(
    encoder: ZipformerEncoder, frames: Any, message: str
) -> None:
    state = encoder.init_state(2)
    with pytest.raises(ValueError, match=message):
        encoder.step(frames, state)
    with pytest.raises(ValueError, match="`tail` must"):
        encoder.finish(state, frames if isinstance(frames, str) else frames[..., :3])


@pytest.mark.parametrize("state", [None, (), torch.zeros(1)])
def test_a_state_that_is_none_is_refused(
    encoder: ZipformerEncoder, model: EchoStreamModel, state: Any
) -> None:
    for step, width in ((encoder.step, 5), (model.step, 80)):
        with pytest.raises(ValueError, match="`state` must be one that `init_state` made"):
            step(torch.zeros(1, 16, width), state)


def test_the_smallest_look_ahead_is_the_default_whatever_the_order() -> None:
    parts = build_model(tiny_config(9, 7))
    model = EchoStreamModel(parts.encoder, parts.asr_head, parts.st_head, (1, 0))
    assert max_future_frames_of(model.init_state(1).encoder) == 0


def decoder(**changed: Any) -> TextDecoder:
    sizes = {
        **{"dim": 8, "num_heads": 2, "ffn_dim": 8, "num_layers": 1, "vocab_size": 5},
        **{"left_tokens": 4, "window": 8, "memory_size": 2},
    }
    return TextDecoder(**{**sizes, **changed})


MODULES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda size: decoder(dim=size), "dim"),
    (lambda size: decoder(num_heads=size), "num_heads"),
    (lambda size: decoder(ffn_dim=size), "ffn_dim"),
    (lambda size: decoder(num_layers=size), "num_layers"),
    (lambda size: decoder(vocab_size=size), "vocab_size"),
    (lambda size: decoder(window=size), "window"),
    (lambda size: StHead(size, 2, 8, 1, 8, 5, 5), "dim"),
    (lambda size: StHead(8, size, 8, 1, 8, 5, 5), "num_heads"),
    (lambda size: StHead(8, 2, size, 1, 8, 5, 5), "ffn_dim"),
    (lambda size: StHead(8, 2, 8, 1, 8, size, 5), "source_vocab_size"),
    (lambda size: StHead(8, 2, 8, 1, 8, 5, size), "vocab_size"),
    (lambda size: AsrHead(8, size), "vocab_size"),
    (lambda size: CTSelfAttention(size, 2, 4, 8), "embed_dim"),
    (lambda size: CTSelfAttention(8, size, 4, 8), "num_heads"),
    (lambda size: CrossAttention(8, size, 4), "num_heads"),
    (lambda size: CrossAttention(8, 2, size), "window"),
    (lambda size: CausalConvModule(8, size), "kernel_size"),
    (lambda size: ConvEmbed(size, 8), "input_dim"),
    (lambda size: FeedForward(8, size), "hidden_dim"),
]


@pytest.mark.parametrize("value", [0, -2, 1.5, True, None], ids=repr)
@pytest.mark.parametrize(("make", "name"), MODULES)
def test_a_size_of_a_module_that_is_none_is_named(
    make: Callable[[Any], Any], name: str, value: object
) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be a whole number, at least "):
        make(value)


@pytest.mark.parametrize("value", [-2, 1.5, True, None], ids=repr)
def test_a_number_of_summaries_that_is_none_is_named(value: Any) -> None:
    for make in (lambda: decoder(memory_size=value), lambda: MemoryBank(8, 2, value, 4, 8)):
        with pytest.raises(ValueError, match="`memory_size` must be a whole number, at least 0"):
            make()


def test_lengths_of_both_whole_types_and_of_nothing_are_taken(encoder: ZipformerEncoder) -> None:
    frames = torch.randn(2, 20, 5)
    for lengths in (torch.tensor([20, 0]), torch.tensor([20, 0], dtype=torch.int32)):
        found: Tensor = encoder(frames, lengths).encoder_lengths
        assert found.tolist() == [5, 0]
