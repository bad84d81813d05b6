"""Every streaming module that makes speech passes the laws of `contract.py`."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from contract import CHUNKS, Streaming, check_contract, randomised
from slow_code_hifigan import shallow_config
from torch import Tensor
from torch.nn import functional

from echostream.models.code_hifigan import CodeHiFiGAN, CodeHiFiGANState
from echostream.models.refiner import RefinerState, UnitRefiner
from echostream.models.unit_decoder import NextWords, UnitDecoder, UnitDecoderState, UnitOutput
from echostream.models.vocoder import UnitVocoder, VocoderState
from echostream.models.word_encoder import END_OF_TEXT, NO_TOKEN
from echostream.modules.convnext import frames_from
from echostream.modules.masks import length_mask
from echostream.speech_config import CTC, FRAME, RefinerConfig, UnitDecoderConfig, VocoderConfig

WIDTH, HEADS, FFN, KERNEL = 8, 2, 16, 5


def vocoder() -> Streaming:
    """A group is a unit, whose id follows from a number; NaN is unit 0."""
    module = randomised(UnitVocoder(VocoderConfig(11, WIDTH, FFN, 2, 3, 6, 9)))

    def units(x: Tensor) -> Tensor:
        return (1000 * x[..., 0].nan_to_num()).long() % 11

    def frames(samples: Tensor) -> Tensor:
        return samples.unflatten(1, (-1, 320))

    def step(x: Tensor, valid: Tensor, state: VocoderState) -> tuple[Tensor, VocoderState]:
        wave, state = module.step(units(x), state, valid)
        return frames(wave.samples), state

    return Streaming(
        module, 1, 1, 1,
        forward=lambda x, valid: frames(module(units(x), valid).samples),
        init_state=module.init_state,
        step=step,
        context=5,
    )  # fmt: skip


def code_hifigan() -> Streaming:
    """A group is one unit, and its 320 samples are one frame out. The flush is real units here."""
    sizes = shallow_config()
    names = ("upsample_rates", "upsample_kernel_sizes", "resblock_kernel_sizes")
    shapes = [*(sizes[name] for name in names), sizes["resblock_dilation_sizes"]]
    look_ahead, num_units = 5, 50
    module = randomised(CodeHiFiGAN(num_units, WIDTH, 16, *shapes, None, False, look_ahead))

    def units(x: Tensor) -> Tensor:
        return (17 * x[..., 0]).nan_to_num().round().long().remainder(num_units)

    def forward(x: Tensor, valid: Tensor) -> Tensor:
        flushed = torch.cat([x, x.new_zeros(len(x), look_ahead, 1)], dim=1)
        return module(units(flushed)).samples.unflatten(1, (-1, 320))[:, :-look_ahead]

    def step(x: Tensor, valid: Tensor, state: CodeHiFiGANState) -> tuple[Tensor, CodeHiFiGANState]:
        found, state = module.step(units(x), state)
        void = x.new_zeros(len(x), 320 * x.shape[1] - found.samples.shape[1])
        return torch.cat([void, found.samples], dim=1).unflatten(1, (-1, 320)), state

    return Streaming(
        module, 1, 1, 1, forward, module.init_state, step, context=10, look_ahead=look_ahead
    )


def unit_decoder(kind: str) -> Streaming:
    """A group is a word of one or two tokens, which follow from a number; NaN is as 0.

    A word waits for the first token of the next one. Its frames are one frame out, with their
    number; zeros stand for frames that it does not have.
    """
    config = UnitDecoderConfig(
        vocab_size=19, num_units=5, kind=kind, dim=WIDTH, num_heads=HEADS, ffn_dim=FFN,
        left_words=2, frame_dim=WIDTH, frame_layers=2, kernel_size=3, max_duration=6,
        unit_upsample=3, max_tokens=2,
    )  # fmt: skip
    module, most = randomised(UnitDecoder(config)), config.max_positions

    def tokens(x: Tensor) -> Tensor:
        """`(B, N, 2)` token ids."""
        number = (1000 * x[..., 0].nan_to_num()).long()
        second = number.div(18, rounding_mode="floor") % 19
        return torch.stack([1 + number % 18, torch.where(second > 0, second, NO_TOKEN)], dim=2)

    def padded(logits: Tensor, num_frames: Tensor) -> Tensor:
        """Frames `(B, T, C)` and their numbers `(B,)` as one frame `(B, 1, most * C + 1)`."""
        frames = functional.pad(logits, (0, 0, 0, most - logits.shape[1]))
        frames = frames * length_mask(num_frames, most)[..., None]
        return torch.cat([frames.flatten(1), num_frames[:, None]], dim=1)[:, None]

    def forward(x: Tensor, valid: Tensor) -> Tensor:
        words = tokens(x)
        following = functional.pad(words[:, 1:, 0], (0, 1), value=END_OF_TEXT)
        states = module.encode(words, following)
        lengths = module.lengths(states, (words != NO_TOKEN).sum(2), x.new_ones(len(x)))
        logits = module(states, lengths).logits
        logits = functional.pad(logits, (0, 0, 0, most))  # after the last word
        first = lengths.cumsum(1) - lengths
        frames = [frames_from(logits, start, most) for start in first.unbind(1)]
        return torch.cat(list(map(padded, frames, lengths.unbind(1))), dim=1)

    def init_state(batch_size: int) -> tuple[UnitDecoderState, Tensor, Tensor]:
        waiting = torch.full((batch_size, 2), NO_TOKEN)
        return module.init_state(batch_size), waiting, torch.zeros(batch_size, dtype=torch.bool)

    def step(
        x: Tensor, valid: Tensor, state: tuple[UnitDecoderState, Tensor, Tensor]
    ) -> tuple[Tensor, tuple[UnitDecoderState, Tensor, Tensor]]:
        decoder, waiting, active = state
        outputs = []
        for word, is_word in zip(tokens(x).unbind(1), valid.unbind(1), strict=True):
            following = torch.where(is_word, word[:, 0], END_OF_TEXT)
            words = NextWords(waiting, following, active, x.new_ones(len(x)))
            found, decoder = module.step(words, decoder)
            outputs.append(padded(found.logits, found.num_frames))
            waiting, active = word, is_word
        return torch.cat(outputs, dim=1), (decoder, waiting, active)

    return Streaming(module, 1, 1, 1, forward, init_state, step, context=8, look_ahead=1)


def refiner() -> Streaming:
    """A group is a word of four frames with their logits; what comes out are the classes.

    They are whole numbers, so a small change just before the end of a word may change none.
    """
    size, rounds, window, num_classes = 4, 2, 6, 5
    config = RefinerConfig(num_classes, WIDTH, WIDTH, HEADS, FFN, 2, window)
    module = randomised(UnitRefiner(config))

    def forward(x: Tensor, valid: Tensor) -> Tensor:
        logits, frames = x.split([num_classes, WIDTH], dim=2)
        spoken = torch.zeros(len(x), 0, dtype=torch.int64)
        for start in range(0, x.shape[1], size):
            first, stop = max(0, start - window), start + size
            draft = logits[:, start:stop]
            probability, classes = draft.softmax(-1).max(-1)
            for turn in range(1, rounds + 1):
                count = math.ceil((1 - math.cos(math.pi / 2 * turn / (rounds + 1))) * size)
                kept = probability.argsort(dim=1, descending=True, stable=True)[:, :count]
                shown = torch.full_like(classes, num_classes).scatter(
                    1, kept, classes.gather(1, kept)
                )
                given = torch.cat([spoken[:, first:], shown], dim=1)
                everywhere = torch.ones_like(given, dtype=torch.bool)
                found = module(given, frames[:, first:stop], everywhere, draft)
                probability, classes = found.softmax(-1).max(-1)
            spoken = torch.cat([spoken, classes], dim=1)
        return spoken[..., None].double()

    def step(x: Tensor, valid: Tensor, state: RefinerState) -> tuple[Tensor, RefinerState]:
        words = []
        never = torch.zeros(len(x), dtype=torch.bool)
        for word, here in zip(x.split(size, dim=1), valid.split(size, dim=1), strict=True):
            draft = UnitOutput(*word.split([num_classes, WIDTH], dim=2), here.sum(1))
            classes, state = module.step(draft, never, rounds, state)
            words.append(classes)
        return torch.cat(words, dim=1)[..., None].double(), state

    return Streaming(
        module, num_classes + WIDTH, size, size, forward, module.init_state, step,
        context=3, within_group=False,
    )  # fmt: skip


CASES: dict[str, Callable[[], Streaming]] = {
    "refiner": refiner,
    "unit_decoder": lambda: unit_decoder(FRAME),
    "unit_decoder by alignment": lambda: unit_decoder(CTC),
    "vocoder": vocoder,
    "code_hifigan": code_hifigan,
}


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_module_passes_the_laws(name: str, chunks: list[int]) -> None:
    check_contract(CASES[name](), chunks)
