"""The interface of a network for a session, common to all back ends."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from echostream.models import CtcOutput
from echostream.models.echostream import ModelState
from echostream.models.text_decoder import DecoderState


class Decoder(Protocol):
    """The text decoder of a network; see `TextDecoder`."""

    def init_state(self, batch_size: int) -> DecoderState:
        """The state of `batch_size` new streams."""

    def append_encoder_out(
        self, frames: Tensor, valid: Tensor, state: DecoderState
    ) -> DecoderState:
        """Appends groups of frames `(B, 4 g, D)`; only the last group of a stream may be short."""

    def decode_next(self, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """The most likely next token `(B,)`, and the state after it."""

    def reset(self, state: DecoderState, num_frames: int) -> DecoderState:
        """The state for a new utterance: no tokens, and only the last `num_frames` frames."""


class Network(Protocol):
    """From fbank frames to the logits of both heads; see `EchoStreamModel`."""

    @property
    def max_future_frames(self) -> tuple[int, ...]:
        """All look-aheads L that it was trained for."""

    @property
    def decoder(self) -> Decoder | None:
        """The text decoder, if there is one."""

    @property
    def device(self) -> torch.device:
        """The device of its states and its input."""

    def to(self, device: str) -> object:
        """Moves it to a device; `ValueError` if it does not run there."""

    def init_state(self, batch_size: int, max_future_frames: int) -> ModelState:
        """The state of `batch_size` new streams; `ValueError` if it was not trained for L."""

    def step(
        self, x: Tensor, state: ModelState, valid: Tensor | None = None
    ) -> tuple[CtcOutput, ModelState]:
        """One chunk `(B, 16 g, F)` with its valid mask `(B, 16 g)`, to logits of `4 g` frames."""
