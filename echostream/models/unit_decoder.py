"""The unit decoder: words of the translation to discrete units of speech, of two kinds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.models.frame_decoder import FrameDecoder
from echostream.models.word_encoder import END_OF_TEXT, NO_TOKEN, WordEncoder
from echostream.models.word_lengths import PredictedDurations, TokenPositions
from echostream.modules.attention import AttentionState
from echostream.modules.conv import ConvState
from echostream.ranges import check_size
from echostream.speech_config import CTC, FRAME, UnitDecoderConfig
from echostream.streaming import map_state, select_rows


class UnitDecoderState(NamedTuple):
    """The words and the frames so far."""

    words: tuple[AttentionState, ...]
    frames: tuple[ConvState, ...]


class NextWords(NamedTuple):
    """The next word of each row."""

    tokens: Tensor  # (B, P) ids, NO_TOKEN in places without one
    following: Tensor  # (B,) the first token of the word after it, or END_OF_TEXT
    active: Tensor  # (B,) bool; the rows without a new word are False
    speed: Tensor  # (B,) divides predicted durations


class UnitOutput(NamedTuple):
    """The frames of one word of each row; rows differ in their number."""

    logits: Tensor  # (B, T, C)
    frames: Tensor  # (B, T, F), from which the logits are made
    num_frames: Tensor  # (B,) int64, T at most: the valid frames of each row


class UnitDecoder(nn.Module):
    """Words to 50 Hz units, word by word.

    A word gets its units when it is complete: when the first token of the next word is known, or
    the text has ended. Its state is repeated over frames, and each frame has logits. With the kind
    `frame`, a frame is 20 ms of a predicted duration and has one of the units. With the kind `ctc`,
    a frame is one of `unit_upsample` positions of an alignment for each token, and has one of the
    units or the blank, which is the last class; `merge_units` makes units of them.
    """

    def __init__(self, config: UnitDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = WordEncoder(config)
        self.lengths: PredictedDurations | TokenPositions
        if config.kind == FRAME:
            self.lengths = PredictedDurations(2 * config.dim, config.ffn_dim, config.max_duration)
        else:
            self.lengths = TokenPositions(config.unit_upsample, config.max_tokens)
        self.decoder = FrameDecoder(
            2 * config.dim,
            config.frame_dim,
            config.frame_layers,
            config.kernel_size,
            config.max_positions,
        )
        self.project_units = nn.Linear(config.frame_dim, config.num_classes)

    @property
    def num_units(self) -> int:
        """Units are ids from 0 to `num_units - 1`."""
        return self.config.num_units

    @property
    def blank(self) -> int | None:
        """The class of the blank, if frames are positions of an alignment."""
        return self.config.num_units if self.config.kind == CTC else None

    @property
    def units(self) -> str:
        """The name of their unit model."""
        return self.config.units

    def init_state(self, batch_size: int) -> UnitDecoderState:
        """The state of `batch_size` new streams: no words."""
        check_size("batch_size", batch_size)
        return UnitDecoderState(
            self.encoder.init_state(batch_size), self.decoder.init_state(batch_size)
        )

    def encode(self, words: Tensor, following: Tensor) -> Tensor:
        """The states `(B, N, 2 D)` of whole texts: `words (B, N, P)` and `following (B, N)`.

        `words` are token ids, `NO_TOKEN` in places without one. `following` is the first token of
        the word after each, `END_OF_TEXT` for the last one.
        """
        return self.encoder(words, following)  # type: ignore[no-any-return]

    def forward(self, states: Tensor, lengths: Tensor, glance: Tensor | None = None) -> UnitOutput:
        """The frames of whole texts, from the states of their words and the lengths `(B, N)`.

        A length is the number of frames of a word, 0 for padding. For training, `glance (B, T)`
        gives the class of some frames, and -1 of the others: its row of the output layer is added
        to the input of the frame (Qian et al. 2021, arXiv:2008.07905).
        """
        added = None
        if glance is not None:
            known = functional.embedding(glance.clamp(min=0), self.project_units.weight)
            added = known.masked_fill((glance < 0)[..., None], 0.0)
        start = self.decoder.init_state(len(states))
        frames, _ = self.decoder.step(states, lengths, start, added)
        return UnitOutput(self.project_units(frames), frames, lengths.sum(1))

    def step(
        self, words: NextWords, state: UnitDecoderState
    ) -> tuple[UnitOutput, UnitDecoderState]:
        """The frames of the next word of each row.

        Rows that are not active get no frames and keep their state. A row whose text has ended
        starts anew afterwards.
        """
        x, new_words = self.encoder.step(words.tokens, words.following, state.words)
        num_tokens = (words.tokens != NO_TOKEN).sum(1, keepdim=True)
        lengths = self.lengths(x, num_tokens, words.speed)  # (B, 1)
        lengths = lengths.masked_fill(~words.active[:, None], 0)
        frames, new_frames = self.decoder.step(x, lengths, state.frames)
        after = UnitDecoderState(new_words, new_frames)
        start = map_state(torch.zeros_like, state)  # as `init_state`, for an export of any batch
        after = select_rows(words.following == END_OF_TEXT, start, after)
        output = UnitOutput(self.project_units(frames), frames, lengths[:, 0])
        return output, select_rows(words.active, after, state)
