"""CodeHiFiGAN, the unit vocoder of StreamSpeech, as a streaming module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from echostream.models import unit_durations
from echostream.models.hifigan import HiFiGANGenerator
from echostream.models.unit_durations import DurationPredictor, repeat_units
from echostream.models.unit_window import Taken, UnitWindow, empty_window, take_due
from echostream.models.waveform import Waveform
from echostream.modules.masks import length_mask
from echostream.ranges import check_size, check_whole
from echostream.streaming import SAMPLE_RATE


class CodeHiFiGANState(NamedTuple):
    """What the next samples depend on, beside the next units."""

    units: UnitWindow  # units whose durations are not fixed yet, after 2 older ones
    frames: UnitWindow  # frames whose samples are not written yet, after their left context


class CodeHiFiGAN(nn.Module):
    """Units to samples: an embedding, durations if they are predicted, and a HiFi-GAN generator.

    The generator is not causal: with StreamSpeech's sizes, samples depend on 21 frames of 20 ms on
    either side. A step writes all frames that have `lookahead_frames` frames after them:

    - 21 gives the samples of the whole recording at once, however the units are cut. 19 is the
      usual choice: the two outermost frames change less than 1e-10. Samples come 380 ms late.
    - 0 is StreamSpeech's behaviour. Its agent synthesises all units so far at each write and takes
      the samples of the new ones from the end. So the new samples see the past in full and zeros
      for the future, which differs at each cut. Durations are predicted in the same way. In one
      thing it differs from StreamSpeech: see below.
    - Between them, the future beyond the look-ahead is zeros.

    A duration depends on two units on either side. With a look-ahead, it is fixed when both are
    known, and so is that of the whole recording. With look-ahead 0 it is fixed at once. In either
    case a fixed duration stays: StreamSpeech predicts those of the last two units again at the next
    write, so that the past which the new samples see is not the one that was spoken.

    The state is the last units and frames, as ids. Each step computes the activations of its left
    context again, rather than keep them in a cache for each of the 97 convolutions: near the last
    cut they change when frames follow. Only the first layers, at low rates, need much of it. The
    time of a step does not depend on the length of the stream (`benchmarks/code_hifigan.py`).
    (Polyak et al. 2021, Speech Resynthesis, arXiv 2104.00355; Lee et al. 2022, arXiv 2107.05604.)

    Args:
        num_units: ids are from 0 to `num_units - 1`.
        embedding_dim: width of the embedding of a unit.
        initial_channels, upsample_rates, upsample_kernel_sizes, resblock_kernel_sizes,
            resblock_dilation_sizes: see `HiFiGANGenerator`.
        duration_dim: hidden width of the duration predictor; None for a network without one.
        predicts_durations: runs of equal units are given once, and their durations are predicted;
            otherwise each unit is one frame.
        lookahead_frames: 0 to `max_lookahead_frames`.
    """

    def __init__(
        self,
        num_units: int,
        embedding_dim: int,
        initial_channels: int,
        upsample_rates: Sequence[int],
        upsample_kernel_sizes: Sequence[int],
        resblock_kernel_sizes: Sequence[int],
        resblock_dilation_sizes: Sequence[Sequence[int]],
        duration_dim: int | None,
        predicts_durations: bool,
        lookahead_frames: int,
    ) -> None:
        super().__init__()
        if predicts_durations and duration_dim is None:
            raise ValueError(
                "`predicts_durations` must be False for a network without a duration predictor, "
                "but is True instead."
            )
        self.num_units = num_units
        self.generator = HiFiGANGenerator(
            embedding_dim,
            initial_channels,
            upsample_rates,
            upsample_kernel_sizes,
            resblock_kernel_sizes,
            resblock_dilation_sizes,
        )
        self.max_lookahead_frames = self.generator.context
        check_whole("lookahead_frames", lookahead_frames, 0, self.max_lookahead_frames)
        self.embedding = nn.Embedding(num_units, embedding_dim)
        self.dur_predictor: DurationPredictor | None = None
        if duration_dim is not None:
            self.dur_predictor = DurationPredictor(embedding_dim, duration_dim)
        self.reduced = predicts_durations
        self.lookahead_frames = lookahead_frames
        self.lookahead_units = unit_durations.CONTEXT if self.reduced and lookahead_frames else 0

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        return SAMPLE_RATE

    @property
    def samples_per_unit(self) -> int:
        """Samples of one frame."""
        return self.generator.hop

    @property
    def latency_units(self) -> int:
        """The most units after a unit that are needed for its samples."""
        return self.lookahead_frames + self.lookahead_units

    @property
    def algorithmic_latency_ms(self) -> int:
        """The look-ahead in ms; predicted durations add those of `lookahead_units` units."""
        return 1000 * self.lookahead_frames * self.samples_per_unit // self.sample_rate

    def init_state(self, batch_size: int) -> CodeHiFiGANState:
        """The state of `batch_size` new streams."""
        check_size("batch_size", batch_size)
        weight = self.embedding.weight
        num_units = unit_durations.CONTEXT + self.lookahead_units if self.reduced else 0
        num_frames = self.generator.context + self.lookahead_frames
        return CodeHiFiGANState(
            empty_window(batch_size, num_units, weight),
            empty_window(batch_size, num_frames, weight),
        )

    def forward(self, units: Tensor, valid: Tensor | None = None) -> Waveform:
        """The samples of whole recordings `(B, T)`; `valid` `(B, T)` is True for a prefix."""
        state = self.init_state(len(units))
        units, count = self._check(units, valid, state)
        return self._advance(units, count, state, has_ended=True)[0]

    def step(
        self, units: Tensor, state: CodeHiFiGANState, valid: Tensor | None = None
    ) -> tuple[Waveform, CodeHiFiGANState]:
        """The samples that are due after the next units `(B, T)` int64, any number of them.

        `valid` `(B, T)` is True for the units of each stream, a prefix that may be empty. Raises
        ValueError for ids out of range and for shapes that do not fit.
        """
        units, count = self._check(units, valid, state)
        return self._advance(units, count, state, has_ended=False)

    def finish(self, state: CodeHiFiGANState) -> tuple[Waveform, CodeHiFiGANState]:
        """The samples that wait for the look-ahead; a stream may go on afterwards."""
        units = state.frames.units[:, :0]
        return self._advance(units, torch.zeros_like(state.frames.num_waiting), state, True)

    def _advance(
        self, units: Tensor, count: Tensor, state: CodeHiFiGANState, has_ended: bool
    ) -> tuple[Waveform, CodeHiFiGANState]:
        waiting = state.units
        if self.reduced:
            lookahead = 0 if has_ended else self.lookahead_units
            due, waiting = take_due(waiting, units, count, unit_durations.CONTEXT, lookahead)
            units, count = self._repeat(due)
        lookahead = 0 if has_ended else self.lookahead_frames
        context = self.generator.context
        due, frames = take_due(state.frames, units, count, context, lookahead)
        return self._synthesise(due), CodeHiFiGANState(waiting, frames)

    def _repeat(self, due: Taken) -> tuple[Tensor, Tensor]:
        """Frames `(B, F)` of the units that are due, and their count `(B,)`."""
        assert self.dur_predictor is not None
        context = unit_durations.CONTEXT
        units = due.units[:, context:-context]
        if not units.shape[1]:
            return units, due.num_due
        durations = self.dur_predictor(self.embedding(due.units), due.valid)
        is_due = length_mask(due.num_due, units.shape[1])
        return repeat_units(units, durations * is_due)

    def _synthesise(self, due: Taken) -> Waveform:
        num_samples = due.num_due * self.samples_per_unit
        if due.valid.shape[1] == 2 * self.generator.context:
            return Waveform(self.embedding.weight.new_zeros(len(num_samples), 0), num_samples)
        x = self.embedding(due.units).transpose(1, 2)  # (B, T) -> (B, D, T)
        samples = self.generator(x, due.valid)
        samples = samples * length_mask(num_samples, samples.shape[1])
        return Waveform(samples, num_samples)

    def _check(
        self, units: Tensor, valid: Tensor | None, state: CodeHiFiGANState
    ) -> tuple[Tensor, Tensor]:
        """The units with zeros where they are not valid, and the number of valid ones `(B,)`."""
        batch_size = len(state.frames.units)
        if units.dim() != 2 or len(units) != batch_size or units.dtype != torch.int64:
            raise ValueError(
                f"`units` must be int64 of shape ({batch_size}, T), "
                f"but is {units.dtype} of shape {tuple(units.shape)} instead."
            )
        if valid is None:
            valid = torch.ones_like(units, dtype=torch.bool)
        if valid.shape != units.shape or valid.dtype != torch.bool:
            raise ValueError(
                f"`valid` must be bool of shape {tuple(units.shape)}, "
                f"but is {valid.dtype} of shape {tuple(valid.shape)} instead."
            )
        count = valid.sum(1)
        if not torch.equal(valid, length_mask(count, units.shape[1])):
            raise ValueError("`valid` must be True for the first units of a stream, but has gaps.")
        units = torch.where(valid, units, 0)
        wrong = units[(units < 0) | (units >= self.num_units)]
        if wrong.numel():
            raise ValueError(
                f"`units` must be from 0 to {self.num_units - 1}, but one is {int(wrong[0])}."
            )
        return units, count
