"""The text decoder on its own: its texts are those of `forward`, whatever the ST head has found."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_model import tiny_config

from echostream.models import build_model
from echostream.models.echostream import CtcOutput
from echostream.models.text_decoder import BOUNDARY_ID, TextDecoder
from echostream.training.free_decoding import decode_freely

WINDOW = 16


def tiny_decoder(seed: int, boundary_bias: float) -> TextDecoder:
    """One that ends a text the sooner the larger the bias of the boundary is."""
    torch.manual_seed(seed)
    config = dataclasses.replace(tiny_config(12, 12, decoder_layers=2), decoder_window=WINDOW)
    decoder = build_model(config).decoder
    assert decoder is not None
    with torch.no_grad():
        decoder.project.weight.mul_(3)
        decoder.project.bias[BOUNDARY_ID] += boundary_bias
    return decoder.eval()


def frames_of(lengths: list[int], seed: int) -> CtcOutput:
    """Random frames; the logits of the ST head are all blank."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(len(lengths), max(lengths), 16, generator=generator)
    valid = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    blank = torch.zeros(len(lengths), max(lengths), 12)
    blank[..., 0] = 1
    return CtcOutput(blank, blank, valid, frames)


def slowly(decoder: TextDecoder, frames: torch.Tensor) -> list[int]:
    """The text of one recording `(T, D)`, by `forward` over all tokens so far, again for each."""
    tokens: list[int] = []
    while len(tokens) < len(frames) // 2:
        before = torch.tensor([[BOUNDARY_ID, *tokens]])
        horizon = torch.full_like(before, -(-len(frames) // 4))
        valid = torch.ones(1, len(frames), dtype=torch.bool)
        best = int(decoder(frames[None], valid, before, horizon)[0, -1].argmax())
        if best == BOUNDARY_ID:
            break
        tokens.append(best)
    return tokens


@pytest.mark.parametrize("bias", [-9.0, 1.0, 2.5])
def test_the_texts_of_a_batch_are_those_of_each_recording_alone(bias: float) -> None:
    decoder = tiny_decoder(3, bias)
    lengths = [2, 3, 4, 5, WINDOW - 1, WINDOW, WINDOW + 1, 31, 32, 33, 3 * WINDOW + 2]
    output = frames_of(lengths, seed=5)
    with torch.no_grad():
        wanted = [
            slowly(decoder, frames[:length])
            for frames, length in zip(output.st_frames, lengths, strict=True)
        ]
    assert decode_freely(decoder, output) == wanted
    sizes = {len(text) for text in wanted}
    if bias < 0:  # nothing ends: the bound does
        assert [len(text) for text in wanted] == [length // 2 for length in lengths]
    else:
        assert len(sizes) > 2


def test_what_lies_behind_the_end_of_a_recording_does_not_matter() -> None:
    decoder, output = tiny_decoder(3, 1.0), frames_of([9, 30], seed=6)
    noise = output.st_frames.masked_fill(~output.valid[..., None], 7)
    assert decode_freely(decoder, output._replace(st_frames=noise)) == decode_freely(
        decoder, output
    )


def test_a_recording_too_short_for_a_token_has_none() -> None:
    assert decode_freely(tiny_decoder(3, -9.0), frames_of([1, 4], seed=6))[0] == []
