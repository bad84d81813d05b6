"""The streaming encoder: a six-stack Zipformer U-Net and an Emformer memory bank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.config import EncoderConfig
from echostream.models.frames import check_frames, check_recordings
from echostream.models.zipformer_block import BlockState, ZipformerBlock, ZipformerStack
from echostream.modules.conv import ConvEmbed, ConvState
from echostream.modules.frame_rate import Downsample, all_of_pairs, any_of_pairs, upsample
from echostream.modules.masks import length_mask
from echostream.modules.memory_bank import MemoryBank, MemoryBankState
from echostream.ranges import check_size, plain, shown
from echostream.streaming.clock import (
    GROUP_FRAMES,
    GROUP_OUTPUTS,
    OUTPUT_STRIDE,
    algorithmic_latency_ms,
)

STACK_GROUPS = (
    8,
    4,
    2,
    1,
    2,
    4,
)  # frames of a group in each stack: 50, 25, 12.5, 6.25, 12.5, 25 Hz
MAX_FUTURE_FRAMES = 2  # the largest L


class EncoderOutput(NamedTuple):
    """The output of `ZipformerEncoder.forward`."""

    encoder_out: Tensor  # (B, T // 4, D), 25 Hz
    encoder_lengths: Tensor  # (B,)
    carry_over: Tensor  # (B, M, D), the memory bank after the last frame
    stack_outputs: tuple[Tensor, ...]  # six, each at its own rate; empty unless `return_stacks`


class EncoderState(NamedTuple):
    """The states of the first layer, the six stacks and the memory bank."""

    embed: ConvState
    stacks: tuple[tuple[BlockState, ...], ...]
    memory: MemoryBankState


class ZipformerEncoder(nn.Module):
    """Streaming encoder, 100 Hz fbank to 25 Hz frames, `(B, T, F)` to `(B, T // 4, D)`.

    `ConvEmbed` brings the frames to 50 Hz; six stacks run at 50, 25, 12.5, 6.25, 12.5 and 25 Hz
    with skips from stacks 3, 2 and 1; a memory bank attends over `memory_size` summaries.

    All layers run on one clock, the group of 160 ms. The look-ahead `max_future_frames` (L, in
    groups, that is, bottleneck frames) is applied in the first attention layer only: there a frame
    attends to its own group and the next L groups, so that `algorithmic_latency_ms = 160 (1 + L)`.
    L is chosen for each call of `forward` and each state; the argument here is the default.

    `forward` encodes whole recordings in parallel; `init_state`, `step` and `finish` compute the
    same chunk by chunk. Zipformer: Yao et al. 2024 (arXiv:2310.11230); memory bank: Shi et al. 2021
    (arXiv:2010.10759).

    Args:
        input_dim: fbank bins F.
        embed_dim: width D of all stacks.
        num_heads: attention heads H.
        ffn_dim: hidden width of the two feed-forwards of a block together.
        num_layers_per_stack: blocks in each stack, one number or six.
        memory_size: summaries M in the memory bank.
        max_future_frames: default look-ahead L in groups, 0 to 2.
        conv_kernel: kernel size of the depthwise convolutions, in frames.
        left_context: past frames that each attention layer attends to, at its own rate.

    Raises:
        ValueError: naming the argument, for a size that is not allowed.
    """

    def __init__(
        self,
        input_dim: int = 80,
        embed_dim: int = 512,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        num_layers_per_stack: int | Sequence[int] = 2,
        memory_size: int = 4,
        max_future_frames: int = 0,
        conv_kernel: int = 15,
        left_context: int = 64,
    ) -> None:
        super().__init__()
        layers = num_layers_per_stack
        each = tuple(layers) if isinstance(layers, Sequence) else layers
        # Checks the sizes by the rules of the configuration file.
        sizes = EncoderConfig(
            input_dim, embed_dim, num_heads, ffn_dim, each, memory_size, conv_kernel, left_context
        )
        self.input_dim = sizes.input_dim
        self.embed_dim = sizes.embed_dim
        each = sizes.num_layers_per_stack
        self.max_future_frames = _checked(max_future_frames)
        self.embed = ConvEmbed(input_dim, embed_dim)
        self.stacks = nn.ModuleList(
            ZipformerStack(
                ZipformerBlock(
                    embed_dim,
                    num_heads,
                    ffn_dim,
                    conv_kernel,
                    group,
                    left_context,
                    MAX_FUTURE_FRAMES if index == layer == 0 else 0,
                )
                for layer in range(num_layers)
            )
            for index, (num_layers, group) in enumerate(
                zip((each,) * 6 if isinstance(each, int) else each, STACK_GROUPS, strict=True)
            )
        )
        self.downsamples = nn.ModuleList(Downsample() for _ in range(3))  # to stacks 2, 3, 4
        self.downsample_skip = Downsample()  # stack 1 to 25 Hz
        self.skip_scales = nn.Parameter(torch.ones(3, embed_dim))  # of stacks 3, 2 and 1
        self.memory_bank = MemoryBank(
            embed_dim, num_heads, memory_size, GROUP_OUTPUTS, left_context
        )

    @property
    def algorithmic_latency_ms(self) -> int:
        """The latency of the encoder at its default L, `160 (1 + L)` ms."""
        return algorithmic_latency_ms(self.max_future_frames)

    def init_state(self, batch_size: int, max_future_frames: int | None = None) -> EncoderState:
        """The state of `batch_size` new streams with look-ahead L.

        Raises:
            ValueError: if L is not 0, 1 or 2, or `batch_size` is less than 1.
        """
        check_size("batch_size", batch_size)
        max_future_frames = self._resolve(max_future_frames)
        return EncoderState(
            self.embed.init_state(batch_size),
            tuple(
                stack.init_state(batch_size, max_future_frames if i == 0 else 0)
                for i, stack in enumerate(self._stacks)
            ),
            self.memory_bank.init_state(batch_size),
        )

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Tensor,
        max_future_frames: int | None = None,
        return_stacks: bool = False,
    ) -> EncoderOutput:
        """Encodes whole recordings.

        Args:
            src_tokens: fbank frames `(B, T, F)`; frames beyond the length of a row are ignored.
            src_lengths: number of frames of each row `(B,)`.
            max_future_frames: look-ahead L of this call, 0 to 2; the encoder's default if None.
            return_stacks: also return the six stack outputs, each at its own rate.

        Raises:
            ValueError: for another L, shape or type, or a length above T.
        """
        max_future_frames = self._resolve(max_future_frames)
        check_recordings(src_tokens, src_lengths, self.embed.conv.weight)
        num_frames = src_tokens.shape[1]
        x = functional.pad(src_tokens, (0, 0, 0, -num_frames % GROUP_FRAMES))
        valid = length_mask(src_lengths, x.shape[1])
        x = x.masked_fill(~valid[..., None], 0.0)

        valid = all_of_pairs(valid)
        valids = _pyramid(valid)
        x = self.embed(x)
        outputs: list[Tensor] = []
        for index, stack in enumerate(self._stacks):
            x = stack(
                self._stack_input(index, x, outputs, valids),
                valids[index],
                max_future_frames if index == 0 else 0,
            )
            outputs.append(x)
        x, carry_over = self.memory_bank(self._merge(outputs, valid), valids[5])
        return EncoderOutput(
            x[:, : num_frames // OUTPUT_STRIDE],
            src_lengths.div(OUTPUT_STRIDE, rounding_mode="floor"),
            carry_over,
            tuple(outputs) if return_stacks else (),
        )

    def step(
        self, x: Tensor, state: EncoderState, valid: Tensor | None = None
    ) -> tuple[Tensor, EncoderState]:
        """Encodes one chunk of whole groups, `(B, 16 g, F)` to `(B, 4 g, D)`.

        `valid (B, 16 g)` masks the padding of a last, short group; by default all frames are
        valid. With look-ahead L the output is delayed by L groups: the first 4 L frames of a stream
        are not valid.

        Raises:
            ValueError: if the chunk is not a whole number of groups, or of another shape or type
                than the state.
        """
        y, _, state = self.step_with_mask(x, state, valid)
        return y, state

    def step_with_mask(
        self, x: Tensor, state: EncoderState, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor, EncoderState]:
        """As `step`, with the valid mask of the output `(B, 4 g)` in the second place."""
        check_chunk(x, state, self.embed.conv.weight)
        if valid is None:
            valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        x = x.masked_fill(~valid[..., None], 0.0)
        x, embed = self.embed.step(x, state.embed)
        x, valid, first = self._stacks[0].step(x, all_of_pairs(valid), state.stacks[0])
        valids = _pyramid(valid)
        outputs, states = [x], [first]
        for index in range(1, len(self._stacks)):
            x = self._stack_input(index, x, outputs, valids)
            x, _, stack_state = self._stacks[index].step(x, valids[index], state.stacks[index])
            outputs.append(x)
            states.append(stack_state)
        y, memory = self.memory_bank.step(self._merge(outputs, valid), valids[5], state.memory)
        return y, all_of_pairs(valid), EncoderState(embed, tuple(states), memory)

    def finish(
        self, state: EncoderState, tail: Tensor | None = None
    ) -> tuple[Tensor, EncoderState]:
        """Encodes the last, short group and flushes the frames delayed by the look-ahead.

        `tail (B, T, F)`, T < 16 frames; returns `(B, 4 L + T // 4, D)`.

        Raises:
            ValueError: if `tail` has a whole group or more.
        """
        x, valid = self.flush_input(state, tail)
        if x.shape[1] == 0:
            return x.new_zeros(x.shape[0], 0, self.embed_dim), state
        y, state = self.step(x, state, valid)
        return y[:, : self.num_flush_frames(state, tail)], state

    def flush_input(self, state: EncoderState, tail: Tensor | None) -> tuple[Tensor, Tensor]:
        """The last chunk of a stream `(B, 16 g, F)` and its valid mask: the tail, padded."""
        past = state.embed.past
        tail = past.new_zeros(past.shape[0], 0, self.input_dim) if tail is None else tail
        check_frames("tail", tail, self.embed.conv.weight, past.shape[0])
        size = tail.shape[1]
        if size >= GROUP_FRAMES:
            raise ValueError(
                f"`tail` must be shorter than a group of {GROUP_FRAMES} frames (whole groups go to "
                f"`step`), but has {size} frames instead."
            )
        padding = -size % GROUP_FRAMES + GROUP_FRAMES * max_future_frames_of(state)
        x = functional.pad(tail, (0, 0, 0, padding))
        valid = torch.arange(x.shape[1], device=x.device) < size
        return x, valid.expand(x.shape[0], -1)

    def num_flush_frames(self, state: EncoderState, tail: Tensor | None) -> int:
        """Encoder frames that `finish` returns with this tail."""
        size = 0 if tail is None else tail.shape[1]
        return GROUP_OUTPUTS * max_future_frames_of(state) + size // OUTPUT_STRIDE

    @property
    def _stacks(self) -> Sequence[ZipformerStack]:
        return cast("Sequence[ZipformerStack]", self.stacks)

    def _stack_input(
        self, index: int, x: Tensor, outputs: list[Tensor], valids: list[Tensor]
    ) -> Tensor:
        if index == 0:
            return x
        if index <= 3:
            return self.downsamples[index - 1](x, valids[index - 1])  # type: ignore[no-any-return]
        skip = 6 - index  # stack 5 takes stack 3, stack 6 takes stack 2
        return upsample(x) + outputs[skip] * self.skip_scales[index - 4]

    def _merge(self, outputs: list[Tensor], valid: Tensor) -> Tensor:
        skip = self.downsample_skip(outputs[0], valid)  # 50 Hz -> 25 Hz
        return outputs[5] + skip * self.skip_scales[2]  # type: ignore[no-any-return]

    def _resolve(self, max_future_frames: int | None) -> int:
        if max_future_frames is None:
            return self.max_future_frames
        return _checked(max_future_frames)


def max_future_frames_of(state: EncoderState) -> int:
    """The look-ahead L for which `init_state` made this state."""
    return state.stacks[0][0].waiting.shape[1] // STACK_GROUPS[0]


def check_chunk(x: Tensor, state: EncoderState, weight: Tensor) -> None:
    """Raises `ValueError` unless `x` is whole groups of frames for the streams of `state`."""
    if not isinstance(state, EncoderState):
        raise ValueError(
            f"`state` must be one that `init_state` made, but is {shown(state)} instead."
        )
    check_frames("x", x, weight, state.embed.past.shape[0])
    if x.shape[1] == 0 or x.shape[1] % GROUP_FRAMES:
        raise ValueError(
            f"`x` must be whole groups of {GROUP_FRAMES} frames (the rest goes to `finish`), "
            f"but has {x.shape[1]} frames instead."
        )


def _pyramid(valid: Tensor) -> list[Tensor]:
    """The valid mask of each stack, from the one at 50 Hz."""
    halves = [valid]
    for _ in range(3):
        halves.append(any_of_pairs(halves[-1]))
    return [*halves, halves[2], halves[1]]


def _checked(max_future_frames: int) -> int:
    value = plain(max_future_frames)
    if type(value) is not int or not 0 <= value <= MAX_FUTURE_FRAMES:
        raise ValueError(
            f"`max_future_frames` must be 0, 1 or 2, but is {shown(max_future_frames)} instead."
        )
    return value
