"""The text decoder against a loop over heads and keys; for the laws, see `test_contract`."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch
from slow_reference import Floats, array, moved, slow_query
from torch import Tensor

from echostream.models.text_decoder import BOUNDARY_ID, DecoderState, TextDecoder
from echostream.modules.cross_attention import CrossAttention
from echostream.modules.decoder_layer import DecoderLayer
from echostream.modules.norm import BiasNorm

WIDTH, HEADS, VOCAB, LEFT_TOKENS, WINDOW, MEMORY = 8, 2, 7, 3, 8, 2
SEGMENT = 32  # frames in a memory segment


def make(memory_size: int = MEMORY) -> TextDecoder:
    decoder = TextDecoder(WIDTH, HEADS, 16, 2, VOCAB, LEFT_TOKENS, WINDOW, memory_size)
    return cast("TextDecoder", moved(decoder))


def normed(norm: BiasNorm, x: Floats) -> Floats:
    rms = max(math.sqrt(np.mean((x - array(norm.bias)) ** 2)), norm.min_rms)
    return cast("Floats", x / rms * math.exp(norm.log_scale.item()))


def slow_cross(
    module: CrossAttention, x: Floats, frames: list[Floats], summaries: list[Floats]
) -> Floats:
    """What a token (D,) makes of the frames that it sees, the newest last, and the summaries."""
    query = array(module.query.weight) @ x + array(module.query.bias)
    query_dim, value_dim = len(query) // HEADS, WIDTH // HEADS
    heads = []
    for head in range(HEADS):
        rows = slice(head * query_dim, (head + 1) * query_dim)
        values = slice(head * value_dim, (head + 1) * value_dim)
        seen = [(frame, age) for age, frame in enumerate(reversed(frames))]
        exponentials, found = [], []
        for key, age in [*seen, *((summary, WINDOW) for summary in summaries)]:
            score = query[rows] @ (array(module.key.weight)[rows] @ key) / math.sqrt(query_dim)
            exponentials.append(math.exp(score + array(module.position_bias)[head, age]))
            found.append(array(module.value.weight)[values] @ key)
        total = sum(exponentials)
        heads.append(sum(e / total * v for e, v in zip(exponentials, found, strict=True)))
    return array(module.project_out.weight) @ np.concatenate(heads) + array(module.project_out.bias)


def slow_logits(module: TextDecoder, frames: Floats, tokens: list[int], groups: int) -> Floats:
    """Logits (V,) after the last of `tokens`, the whole past computed for one `groups`.

    Only right for one layer or if all tokens were written after the same group: otherwise the
    lower layers would have computed the states of earlier tokens from fewer frames.
    """
    so_far = [normed(module.frame_norm, frame) for frame in frames[: 4 * groups]]
    summaries = [
        array(module.summarise.weight) @ np.mean(so_far[start : start + SEGMENT], axis=0)
        + array(module.summarise.bias)
        for start in range(0, len(so_far) - SEGMENT + 1, SEGMENT)
    ][-module.memory_size :]
    xs = [array(module.embed.weight)[token] for token in tokens]
    for layer in cast("list[DecoderLayer]", list(module.layers)):
        inputs = [normed(layer.self_norm, x) for x in xs]
        after = []
        for i, x in enumerate(xs):
            others = [(inputs[j], j - i) for j in range(max(0, i - LEFT_TOKENS), i + 1)]
            x = x + slow_query(layer.self_attention, inputs[i], others, [])
            x = x + slow_cross(
                layer.cross_attention, normed(layer.cross_norm, x), so_far[-WINDOW:], summaries
            )
            fed = torch.from_numpy(normed(layer.feed_forward_norm, x))
            after.append(x + array(layer.feed_forward(fed)))
        xs = after
    last = normed(module.norm, xs[-1])
    return array(module.project.weight) @ last + array(module.project.bias)


@pytest.mark.parametrize("num_groups", [1, 2, 3, 7, 8, 9, 16, 17, 26])
@pytest.mark.parametrize("num_tokens", [1, 3, 4, 5, 9])
def test_logits_are_those_of_the_loop(num_groups: int, num_tokens: int) -> None:
    module = make()
    frames = torch.randn(2, 4 * num_groups + 8, WIDTH, dtype=torch.float64)
    valid = torch.ones(frames.shape[:2], dtype=torch.bool)
    tokens = torch.tensor([[(3 * i) % VOCAB for i in range(num_tokens)]] * 2)
    horizon = torch.full(tokens.shape, num_groups)
    found = module(frames, valid, tokens, horizon)
    for row in range(2):
        wanted = slow_logits(module, array(frames[row]), tokens[row].tolist(), num_groups)
        np.testing.assert_allclose(array(found[row, -1]), wanted, rtol=0, atol=1e-10)


def stream(
    module: TextDecoder, frames: Tensor, tokens: list[int], horizons: list[int]
) -> list[Tensor]:
    """Logits of each token of one stream (1, T, D) that is given group by group."""
    state, num_groups, logits = module.init_state(1), 0, []
    for token, horizon in zip(tokens, horizons, strict=True):
        while num_groups < horizon:
            group = frames[:, 4 * num_groups : 4 * num_groups + 4]
            ones = torch.ones(group.shape[:2], dtype=torch.bool)
            state, num_groups = module.append_encoder_out(group, ones, state), num_groups + 1
        found, _, layers = module._next(state._replace(last_token=torch.tensor([token])))
        state = state._replace(layers=layers)
        logits.append(found)
    return logits


@pytest.mark.parametrize("num_frames", [*range(27, 38), 129, 132])
def test_a_stream_gives_what_forward_gives_also_when_its_last_group_is_short(
    num_frames: int,
) -> None:
    module = make()
    frames = torch.randn(1, num_frames, WIDTH, dtype=torch.float64)
    groups = -(-num_frames // 4)
    horizons = sorted([1, 1, 2, groups // 2, groups // 2 + 1, groups - 1, groups, groups])
    tokens = [(5 * i + 1) % VOCAB for i in range(len(horizons))]
    # In a batch of longer recordings: frames after the last must have no effect.
    padded = torch.cat([frames, torch.randn(1, 9, WIDTH, dtype=torch.float64)], dim=1)
    valid = torch.arange(num_frames + 9)[None] < num_frames
    whole = module(padded, valid, torch.tensor([tokens]), torch.tensor([horizons]))
    streamed = torch.stack(stream(module, frames, tokens, horizons), dim=1)
    torch.testing.assert_close(streamed, whole, rtol=0, atol=1e-10)


def test_void_frames_at_the_start_of_a_stream_have_no_effect() -> None:
    """With a look-ahead the first frames that come out are void."""
    module = make()
    frames = torch.randn(1, 12, WIDTH, dtype=torch.float64)
    void = torch.full((1, 8, WIDTH), 1e3, dtype=torch.float64)
    plain = module.append_encoder_out(
        frames, torch.ones(1, 12, dtype=torch.bool), module.init_state(1)
    )
    late = module.append_encoder_out(
        void, torch.zeros(1, 8, dtype=torch.bool), module.init_state(1)
    )
    late = module.append_encoder_out(frames, torch.ones(1, 12, dtype=torch.bool), late)
    torch.testing.assert_close(module._next(late)[0], module._next(plain)[0], rtol=0, atol=1e-10)


def state_after(module: TextDecoder, num_groups: int = 5) -> DecoderState:
    frames = torch.randn(1, 4 * num_groups, WIDTH, dtype=torch.float64)
    return module.append_encoder_out(
        frames, torch.ones(frames.shape[:2], dtype=torch.bool), module.init_state(1)
    )


def test_a_prediction_that_is_not_kept_leaves_no_trace() -> None:
    module = make()
    state = state_after(module)
    token, after = module.decode_next(state)
    again, _ = module.decode_next(state)
    assert token == again and after.last_token == token
    assert state.last_token == BOUNDARY_ID and not any(layer.valid.any() for layer in state.layers)


def test_the_token_is_the_likeliest() -> None:
    module = make()
    state = state_after(module)
    assert module.decode_next(state)[0] == module._next(state)[0].argmax(-1)


def test_the_age_is_that_of_the_frame_with_the_greatest_weight_or_the_window_of_a_summary() -> None:
    module = make()
    ages = [WINDOW] * MEMORY + list(range(WINDOW - 1, -1, -1))  # of the summaries come first
    found = set()
    for _ in range(60):
        state = state_after(module, 30)  # 120 frames: both summaries are filled
        loud = state.summaries._replace(bank=50 * state.summaries.bank)
        state = state._replace(summaries=loud)  # so that some tokens attend to them
        token, age, after = module.decode_aligned(state)
        weights = module._next(state)[1].mean(1)[0, 0]
        assert age == ages[int(weights.argmax())]
        assert token == module.decode_next(state)[0] == after.last_token
        found.add(int(age))
    assert WINDOW in found and len(found) > 2


@pytest.mark.parametrize("window", [0, -4, 3, 6])
def test_a_window_that_is_not_whole_groups_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match=f"`window` must be .* but is {window} instead"):
        TextDecoder(WIDTH, HEADS, 16, 1, VOCAB, LEFT_TOKENS, window, MEMORY)
