"""What a session asks of a network, whatever computes it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from echostream.models import CtcOutput
from echostream.models.echostream import ModelState
from echostream.models.text_decoder import DecoderState


class Decoder(Protocol):
    """The text decoder of a network; `TextDecoder` says what each call means."""

    def init_state(self, batch_size: int) -> DecoderState:
        """The state of `batch_size` new streams."""

    def observe(self, frames: Tensor, valid: Tensor, state: DecoderState) -> DecoderState:
        """Hears some groups `(B, 4 g, D)` more; only the last group of a stream may be short."""

    def predict(self, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """The likeliest next token `(B,)`, and the state in which it has been written."""

    def restart(self, state: DecoderState, num_frames: int) -> DecoderState:
        """Nothing written, and nothing heard before the newest `num_frames`."""


class Network(Protocol):
    """From fbank frames to the logits of both heads; `EchoStreamModel` says what each call does."""

    @property
    def max_future_frames(self) -> tuple[int, ...]:
        """The look-aheads L that it was trained for."""

    @property
    def decoder(self) -> Decoder | None:
        """Its text decoder, if it has one."""

    @property
    def device(self) -> torch.device:
        """Where its states live, and what it is given."""

    def to(self, device: str) -> object:
        """Moves it; `ValueError` if it cannot be there."""

    def init_state(self, batch_size: int, max_future_frames: int) -> ModelState:
        """The state of `batch_size` new streams; `ValueError` if it was not trained for L."""

    def advance(self, x: Tensor, valid: Tensor, state: ModelState) -> tuple[CtcOutput, ModelState]:
        """One chunk `(B, 16 g, F)` with its valid mask `(B, 16 g)`, `4 g` frames out."""
