"""The unit vocoder: discrete units at 50 Hz to samples at 16 kHz, unit by unit."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from echostream.models.harmonic_noise import HarmonicNoise, Knots, SynthState
from echostream.models.waveform import Waveform
from echostream.modules.conv import ConvState
from echostream.modules.convnext import ConvNeXtBlock
from echostream.speech_config import VocoderConfig
from echostream.streaming.clock import SAMPLE_RATE, UNIT_SAMPLES

KNOTS_PER_UNIT = 2


class VocoderState(NamedTuple):
    """The caches of the convolutions, and the oscillators and noise of the synthesis."""

    convolutions: tuple[ConvState, ...]
    synthesis: SynthState


class UnitVocoder(nn.Module):
    """Units `(B, T)` to samples `(B, 320 T)`, causal: unit t changes nothing before sample 320 t.

    A table holds the controls of each unit on its own (spectral envelopes of harmonics and of
    noise, pitch); causal ConvNeXt blocks over the units correct them by what came before. The
    speech is `harmonic_noise.DELAY_SAMPLES` late, 5 ms, and never exactly zero.
    """

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        num_controls = KNOTS_PER_UNIT * (2 * config.num_bands + 1)
        self.table = nn.Embedding(config.num_units, num_controls)
        self.embedding = nn.Embedding(config.num_units, config.dim)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(config.dim, config.ffn_dim, config.kernel_size)
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.dim)
        self.head = nn.Linear(config.dim, num_controls)
        self.synthesis = HarmonicNoise(config.num_bands, config.num_harmonics)
        nn.init.normal_(self.table.weight, std=0.1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def init_state(self, batch_size: int) -> VocoderState:
        """The state of `batch_size` new streams."""
        return VocoderState(
            tuple(block.init_state(batch_size) for block in self.blocks),  # type: ignore[operator]
            self.synthesis.init_state(batch_size),
        )

    @property
    def num_units(self) -> int:
        """Units are ids from 0 to `num_units - 1`."""
        return self.config.num_units

    @property
    def reduced(self) -> bool:
        """False: each unit is 20 ms, also one that equals the unit before."""
        return False

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        return SAMPLE_RATE

    @property
    def samples_per_unit(self) -> int:
        """Samples of a unit."""
        return UNIT_SAMPLES

    @property
    def latency_units(self) -> int:
        """0: the samples of a unit need no unit after it."""
        return 0

    def forward(self, units: Tensor, valid: Tensor | None = None) -> Waveform:
        """The samples of whole sequences `(B, T)`; `valid` `(B, T)` is True for a prefix."""
        return self.step(units, self.init_state(units.shape[0]), valid)[0]

    def finish(self, state: VocoderState) -> tuple[Waveform, VocoderState]:
        """No samples: none wait."""
        batch_size = len(state.synthesis[0])
        nothing = self.head.weight.new_zeros(batch_size, 0)
        return Waveform(nothing, nothing.new_zeros(batch_size, dtype=torch.int64)), state

    def step(
        self, units: Tensor, state: VocoderState, valid: Tensor | None = None
    ) -> tuple[Waveform, VocoderState]:
        """The samples `(B, 320 T)` of the next units.

        `valid` `(B, T)`: the first units of each row, if the rows have different numbers of them;
        the others may be any ids, their samples are zeros and the state does not advance by them.
        """
        if valid is None:
            valid = torch.ones_like(units, dtype=torch.bool)
        num_valid = valid.sum(1)
        knots, convolutions = self.controls(units, num_valid, state.convolutions)
        samples, synthesis = self.synthesis.step(knots, KNOTS_PER_UNIT * num_valid, state.synthesis)
        mask = valid[:, :, None].expand(-1, -1, UNIT_SAMPLES).flatten(1)  # (B, T) -> (B, 320 T)
        samples = torch.where(mask, samples, 0.0)
        wave = Waveform(samples, UNIT_SAMPLES * num_valid)
        return wave, VocoderState(convolutions, synthesis)

    def controls(
        self, units: Tensor, num_valid: Tensor, states: tuple[ConvState, ...]
    ) -> tuple[Knots, tuple[ConvState, ...]]:
        """The knots of the next units, two for each; row b has `num_valid[b]` of them."""
        x = self.embedding(units)
        after = []
        for block, state in zip(self.blocks, states, strict=True):
            x, new = block.step(x, num_valid, state)  # type: ignore[operator]
            after.append(new)
        y = self.table(units) + self.head(self.norm(x))
        num_bands = self.config.num_bands
        y = y.reshape(units.shape[0], KNOTS_PER_UNIT * units.shape[1], 2 * num_bands + 1)
        # Far beyond any voice: nothing overflows, whatever the weights.
        y = y.nan_to_num(-20).clamp(-20, 8)
        harmonic, noise, pitch = y.split([num_bands, num_bands, 1], dim=2)
        return Knots(harmonic, noise, pitch[..., 0]), tuple(after)
