"""The network from fbank frames to the logits of both CTC heads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.models.ctc import AsrHead, StHead
from echostream.models.frames import check_recordings
from echostream.models.text_decoder import TextDecoder
from echostream.models.zipformer import EncoderState, ZipformerEncoder, check_chunk
from echostream.modules.attention import AttentionState
from echostream.modules.masks import length_mask
from echostream.ranges import shown
from echostream.streaming.clock import GROUP_FRAMES, GROUP_OUTPUTS


class CtcOutput(NamedTuple):
    """The logits of both heads at 25 Hz, which frames are real, and what the decoder reads."""

    asr_logits: Tensor  # (B, T, V source)
    st_logits: Tensor  # (B, T, V target)
    valid: Tensor  # (B, T) bool
    st_frames: Tensor  # (B, T, D) what `st_logits` are made of


class ModelState(NamedTuple):
    """What the network must remember of a stream."""

    encoder: EncoderState
    st_head: tuple[AttentionState, ...]


class EchoStreamModel(nn.Module):
    """Encoder and CTC heads, `(B, T, F)` fbank frames to 25 Hz logits, and the text decoder.

    `max_future_frames` are the look-aheads that the network was trained for; others are refused.
    The decoder is called by who writes, token by token: `step` ends at the CTC heads.
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
        """Where its weights are."""
        return self.encoder.skip_scales.device

    def init_state(self, batch_size: int, max_future_frames: int | None = None) -> ModelState:
        """The state of `batch_size` new streams with look-ahead L.

        Raises:
            ValueError: if the network was not trained for L, or there is not one stream at least.
        """
        look_ahead = self._resolve(max_future_frames)
        return ModelState(
            self.encoder.init_state(batch_size, look_ahead), self.st_head.init_state(batch_size)
        )

    def forward(
        self, x: Tensor, lengths: Tensor, max_future_frames: int | None = None
    ) -> CtcOutput:
        """Whole recordings `(B, T, F)` of `lengths (B,)` frames to logits `(B, T // 4, V)`.

        Raises:
            ValueError: as the encoder, in which the two are `src_tokens` and `src_lengths`.
        """
        check_recordings(x, lengths, self.encoder.embed.conv.weight)
        num_outputs = x.shape[1] // (GROUP_FRAMES // GROUP_OUTPUTS)
        x = functional.pad(x, (0, 0, 0, -x.shape[1] % GROUP_FRAMES))
        encoded = self.encoder(x, lengths, self._resolve(max_future_frames))
        y = encoded.encoder_out
        valid = length_mask(encoded.encoder_lengths, y.shape[1])
        asr_logits = self.asr_head(y)
        st_logits, st_frames = self.st_head(y, asr_logits, valid)
        output = CtcOutput(asr_logits, st_logits, valid, st_frames)
        return CtcOutput(*(field[:, :num_outputs] for field in output))

    def step(self, x: Tensor, state: ModelState) -> tuple[CtcOutput, ModelState]:
        """One chunk of whole groups, `(B, 16 g, F)` to logits `(B, 4 g, V)`.

        With a look-ahead of L the frames are those of L groups ago; `valid` is False for what came
        out before the stream began.

        Raises:
            ValueError: as the encoder.
        """
        if not isinstance(state, ModelState):
            raise ValueError(
                f"`state` must be one that `init_state` made, but is {shown(state)} instead."
            )
        check_chunk(x, state.encoder, self.encoder.embed.conv.weight)
        valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        return self.advance(x, valid, state)

    def finish(self, state: ModelState, tail: Tensor | None = None) -> tuple[CtcOutput, ModelState]:
        """The last, short group `(B, T < 16, F)` and what the look-ahead still owes."""
        x, valid = self.encoder.closing_chunk(state.encoder, tail)
        num_outputs = self.encoder.closing_frames(state.encoder, tail)
        if x.shape[1] == 0:
            return self._nothing(x), state
        output, state = self.advance(x, valid, state)
        return CtcOutput(*(field[:, :num_outputs] for field in output)), state

    def advance(self, x: Tensor, valid: Tensor, state: ModelState) -> tuple[CtcOutput, ModelState]:
        """`step` with a valid mask `(B, 16 g)`."""
        y, valid, encoder = self.encoder.advance(x, valid, state.encoder)
        asr_logits = self.asr_head(y)
        st_logits, st_frames, st_head = self.st_head.step(y, asr_logits, valid, state.st_head)
        return CtcOutput(asr_logits, st_logits, valid, st_frames), ModelState(encoder, st_head)

    def _nothing(self, x: Tensor) -> CtcOutput:
        """The output for no frames at all."""
        none = x.new_zeros(x.shape[0], 0, self.encoder.embed_dim)
        valid = torch.zeros(none.shape[:2], dtype=torch.bool, device=x.device)
        return CtcOutput(self.asr_head(none), self.st_head.project(none), valid, none)

    def _resolve(self, max_future_frames: int | None) -> int:
        smallest = min(self.max_future_frames)  # which is what a session takes, too
        look_ahead = smallest if max_future_frames is None else max_future_frames
        if type(look_ahead) is not int or look_ahead not in self.max_future_frames:
            raise ValueError(
                f"`max_future_frames` must be one of {self.max_future_frames}, which the model was "
                f"trained for, but is {shown(look_ahead)} instead."
            )
        return look_ahead
