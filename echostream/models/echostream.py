"""The network: fbank frames to the logits of both CTC heads, and the text decoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.models.ctc import AsrHead, StHead
from echostream.models.frames import check_recordings
from echostream.models.text_decoder import TextDecoder
from echostream.models.zipformer import EncoderState, ZipformerEncoder
from echostream.modules.attention import AttentionState
from echostream.modules.masks import length_mask
from echostream.ranges import plain, shown
from echostream.streaming.clock import GROUP_FRAMES, GROUP_OUTPUTS


class CtcOutput(NamedTuple):
    """The logits of both heads at 25 Hz, their valid mask, and the input of the text decoder."""

    asr_logits: Tensor  # (B, T, V source)
    st_logits: Tensor  # (B, T, V target)
    valid: Tensor  # (B, T) bool
    st_frames: Tensor  # (B, T, D) from which `st_logits` are computed


class ModelState(NamedTuple):
    """The states of the encoder and of the ST head."""

    encoder: EncoderState
    st_head: tuple[AttentionState, ...]


class EchoStreamModel(nn.Module):
    """Encoder and CTC heads, `(B, T, F)` fbank frames to 25 Hz logits, and the text decoder.

    The attribute `max_future_frames` holds all look-aheads L that the network was trained for; the
    argument of the same name of a method is one of them, by default the smallest. `forward` and
    `step` end at the CTC heads; a decoding method calls the decoder.
    """

    def __init__(
        self,
        encoder: ZipformerEncoder,
        asr_head: AsrHead,
        st_head: StHead,
        max_future_frames: tuple[int, ...] = (0, 1, 2),
        decoder: TextDecoder | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.asr_head = asr_head
        self.st_head = st_head
        self.max_future_frames = max_future_frames
        self.decoder = decoder

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.encoder.skip_scales.device

    def init_state(self, batch_size: int, max_future_frames: int | None = None) -> ModelState:
        """The state of `batch_size` new streams with look-ahead L.

        Raises:
            ValueError: if the network was not trained for L, or `batch_size` is less than 1.
        """
        max_future_frames = resolve_max_future_frames(max_future_frames, self.max_future_frames)
        return ModelState(
            self.encoder.init_state(batch_size, max_future_frames),
            self.st_head.init_state(batch_size),
        )

    def forward(
        self, x: Tensor, lengths: Tensor, max_future_frames: int | None = None
    ) -> CtcOutput:
        """Whole recordings `(B, T, F)` of `lengths (B,)` frames to logits `(B, T // 4, V)`.

        Raises:
            ValueError: as the encoder, whose arguments are `src_tokens` and `src_lengths`.
        """
        return self.forward_with_stacks(x, lengths, max_future_frames)[0]

    def forward_with_stacks(
        self,
        x: Tensor,
        lengths: Tensor,
        max_future_frames: int | None = None,
        frozen: bool = False,
    ) -> tuple[CtcOutput, tuple[Tensor, ...]]:
        """As `forward`, and the outputs of the six stacks, each at its own rate.

        `frozen`: no gradient reaches the encoder and the ASR head.
        """
        check_recordings(x, lengths, self.encoder.embed.conv.weight)
        num_outputs = x.shape[1] // (GROUP_FRAMES // GROUP_OUTPUTS)
        x = functional.pad(x, (0, 0, 0, -x.shape[1] % GROUP_FRAMES))
        max_future_frames = resolve_max_future_frames(max_future_frames, self.max_future_frames)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            encoded = self.encoder(x, lengths, max_future_frames, return_stacks=True)
            y = encoded.encoder_out
            asr_logits = self.asr_head(y)
        valid = length_mask(encoded.encoder_lengths, y.shape[1])
        st_logits, st_frames = self.st_head(y, asr_logits, valid)
        output = CtcOutput(asr_logits, st_logits, valid, st_frames)
        output = CtcOutput(*(field[:, :num_outputs] for field in output))
        return output, encoded.stack_outputs

    def step(
        self, x: Tensor, state: ModelState, valid: Tensor | None = None
    ) -> tuple[CtcOutput, ModelState]:
        """One chunk of whole groups, `(B, 16 g, F)` to logits `(B, 4 g, V)`.

        `valid (B, 16 g)` masks the padding of a last, short group; by default all frames are
        valid. With look-ahead L the output is delayed by L groups; `CtcOutput.valid` is False for
        the first L groups of a stream.

        Raises:
            ValueError: as the encoder.
        """
        if not isinstance(state, ModelState):
            raise ValueError(
                f"`state` must be one that `init_state` made, but is {shown(state)} instead."
            )
        y, valid, encoder = self.encoder.step_with_mask(x, state.encoder, valid)
        asr_logits = self.asr_head(y)
        st_logits, st_frames, st_head = self.st_head.step(y, asr_logits, valid, state.st_head)
        return CtcOutput(asr_logits, st_logits, valid, st_frames), ModelState(encoder, st_head)


def resolve_max_future_frames(max_future_frames: int | None, trained: tuple[int, ...]) -> int:
    """The look-ahead L to use: the given one, or the smallest of those in `trained`.

    Raises `ValueError` for an L that is not in `trained`.
    """
    if max_future_frames is None:
        return min(trained)
    value = plain(max_future_frames)
    if type(value) is not int or value not in trained:
        raise ValueError(
            f"`max_future_frames` must be one of {', '.join(map(str, sorted(trained)))}, which the "
            f"model was trained for, but is {shown(max_future_frames)} instead."
        )
    return value
