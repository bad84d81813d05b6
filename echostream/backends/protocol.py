"""The interfaces of a network and of a vocoder for a session, common to all back ends."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from echostream.models import CtcOutput
from echostream.models.echostream import ModelState
from echostream.models.refiner import RefinerState
from echostream.models.text_decoder import DecoderState
from echostream.models.unit_decoder import NextWords, UnitDecoderState, UnitOutput
from echostream.models.waveform import Waveform
from echostream.streaming.state import State


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

    def decode_aligned(self, state: DecoderState) -> tuple[Tensor, Tensor, DecoderState]:
        """As `decode_next`, and the age `(B,)` in frames of the frame it attends to most."""

    def reset(self, state: DecoderState, num_frames: int) -> DecoderState:
        """The state for a new utterance: no tokens, and only the last `num_frames` frames."""


class UnitDecoder(Protocol):
    """Words of the translation to frames with the logits of units; see `unit_decoder`."""

    @property
    def num_units(self) -> int:
        """Units are ids from 0 to `num_units - 1`."""

    @property
    def blank(self) -> int | None:
        """The class of the blank, if frames are positions of an alignment."""

    @property
    def units(self) -> str:
        """The name of their unit model."""

    def to(self, device: str) -> object:
        """Moves it to a device; `ValueError` if it does not run there."""

    def init_state(self, batch_size: int) -> UnitDecoderState:
        """The state of `batch_size` new streams."""

    def step(
        self, words: NextWords, state: UnitDecoderState
    ) -> tuple[UnitOutput, UnitDecoderState]:
        """The frames of the next word of each row that is active."""


class UnitRefiner(Protocol):
    """Improves the units of a word before they are spoken; see `refiner`."""

    def to(self, device: str) -> object:
        """Moves it to a device; `ValueError` if it does not run there."""

    def init_state(self, batch_size: int) -> RefinerState:
        """The state of `batch_size` new streams."""

    def step(
        self, output: UnitOutput, ends: Tensor, num_steps: int, state: RefinerState
    ) -> tuple[Tensor, RefinerState]:
        """The classes of the frames of the next words after `num_steps` rounds."""


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


class Vocoder(Protocol[State]):
    """From units to samples, of streams; see `UnitVocoder` and `CodeHiFiGAN`."""

    @property
    def num_units(self) -> int:
        """Units are ids from 0 to `num_units - 1`."""

    @property
    def reduced(self) -> bool:
        """Runs of equal units are given once; otherwise each unit is `samples_per_unit` samples."""

    @property
    def sample_rate(self) -> int:
        """Samples per second."""

    @property
    def samples_per_unit(self) -> int:
        """Samples of a unit, or of one frame of it if its duration is predicted."""

    @property
    def latency_units(self) -> int:
        """The most units after a unit that are needed for its samples."""

    def to(self, device: str) -> object:
        """Moves it to a device; `ValueError` if it does not run there."""

    def init_state(self, batch_size: int) -> State:
        """The state of `batch_size` new streams."""

    def step(
        self, units: Tensor, state: State, valid: Tensor | None = None
    ) -> tuple[Waveform, State]:
        """The samples that are due after the next units `(B, T)`, of which a prefix is valid."""

    def finish(self, state: State) -> tuple[Waveform, State]:
        """The samples that still wait for units after them; a stream may go on afterwards."""
