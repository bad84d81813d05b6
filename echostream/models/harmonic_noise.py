"""Synthesis of a voice as a sum of harmonics and filtered noise, from controls at 100 Hz.

The source-filter model of Serra and Smith 1990; with learned controls, Engel et al. 2020
(arXiv:2001.04643). There are no weights here.

A *knot* is a set of controls for one instant. Knot h is reached 160 (h + 1) samples after the start
of the stream; between knots amplitudes and frequencies are interpolated. It describes the source
at 160 h + 80, so the speech comes out `DELAY_SAMPLES` late.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from echostream.frontend.unit_features import mel
from echostream.modules.convnext import frames_from
from echostream.streaming.clock import SAMPLE_RATE, UNIT_SAMPLES

KNOT_SAMPLES = UNIT_SAMPLES // 2  # 10 ms
DELAY_SAMPLES = KNOT_SAMPLES // 2  # 5 ms
MIDDLE_F0 = 100.0  # Hz, of pitch 0
MAX_OCTAVES = 2.0  # of the pitch, up and down from there
BAND_LOWEST_HZ = 40.0

# A whole cycle in units of the phase. The phase is an integer: its sum over hours is exact, and
# does not depend on how the stream is cut.
_CYCLE = 1 << 40
_NOISE_KNOTS = 400  # the noise repeats after 4 s
# Of the noise that is always there, -90 dB: players and scorers take exact zeros for a pause.
_DITHER = 3e-5
_FADE_HZ, _LAST_HZ = 400.0, 7800.0  # harmonics fade out below the Nyquist frequency


class Knots(NamedTuple):
    """Controls of H knots of each stream."""

    harmonic: Tensor  # (B, H, N) log magnitude of the harmonic part in each band
    noise: Tensor  # (B, H, N) log magnitude of the noise
    pitch: Tensor  # (B, H) log(f0 / 100 Hz): near 0, where float32 is finest


class SynthState(NamedTuple):
    """What the next sample depends on, besides the next knots."""

    amplitude: Tensor  # (B, K) of the harmonics at the last knot
    increment: Tensor  # (B,) int64, phase for each sample at the last knot
    phase: Tensor  # (B,) int64, of the first harmonic after the last sample
    tail: Tensor  # (B, 160) second half of the last frame of noise
    num_knots: Tensor  # (B,) int64, since the stream began


class HarmonicNoise(nn.Module):
    """Knots to samples; `step` takes chunks of any number of knots.

    The magnitude of a band is the square root of its power density, in which white noise of
    variance 1 has 1. A harmonic of a pitch f has the power of a stretch of f Hz.

    Args:
        num_bands: N bands, evenly spaced in mel, of both envelopes.
        num_harmonics: K, the most harmonics of the pitch; those above 7.8 kHz are silent.
    """

    harmonics: Tensor
    noise_bins: Tensor
    noise_spectra: Tensor
    synthesis: Tensor

    def __init__(self, num_bands: int, num_harmonics: int) -> None:
        super().__init__()
        self.num_bands = num_bands
        self.num_harmonics = num_harmonics
        edges = mel(np.array([BAND_LOWEST_HZ, SAMPLE_RATE / 2]))
        self.mel_step = float(edges[1] - edges[0]) / (num_bands + 1)
        self.first_mel = float(edges[0]) + self.mel_step  # centre of the first band
        frame = 2 * KNOT_SAMPLES
        bins = np.arange(frame // 2 + 1) * SAMPLE_RATE / frame
        for name, value in (
            ("harmonics", np.arange(1, num_harmonics + 1)),
            ("noise_bins", self._interpolation(bins)),
            ("noise_spectra", _noise_spectra(frame)),
            ("synthesis", _inverse_transform(frame)),
        ):
            tensor = torch.tensor(value, dtype=torch.get_default_dtype())
            self.register_buffer(name, tensor, persistent=False)

    def init_state(self, batch_size: int) -> SynthState:
        """The state of `batch_size` new streams."""
        counter = torch.zeros(batch_size, dtype=torch.int64, device=self.harmonics.device)
        return SynthState(
            self.harmonics.new_zeros(batch_size, self.num_harmonics),
            counter,
            counter.clone(),
            self.harmonics.new_zeros(batch_size, KNOT_SAMPLES),
            counter.clone(),
        )

    def step(self, knots: Knots, num_valid: Tensor, state: SynthState) -> tuple[Tensor, SynthState]:
        """Samples `(B, 160 H)` of a chunk; row b advances by its first `num_valid[b]` knots.

        The samples of other knots have no meaning.
        """
        phases, increments, starts = self._phases(knots.pitch, state)
        amplitudes = torch.cat([state.amplitude[:, None], self._amplitudes(knots)], dim=1)
        voiced = self._harmonics(phases, amplitudes)
        noise = self._noise(knots.noise, state.num_knots)  # (B, H, 320)
        tails = torch.cat([state.tail[:, None], noise[:, :, KNOT_SAMPLES:]], dim=1)
        samples = voiced + noise[:, :, :KNOT_SAMPLES] + tails[:, :-1]  # (B, H, 160)
        new = SynthState(
            frames_from(amplitudes, num_valid, 1)[:, 0],
            frames_from(increments, num_valid, 1)[:, 0],
            frames_from(starts, num_valid, 1)[:, 0],
            frames_from(tails, num_valid, 1)[:, 0],
            state.num_knots + num_valid,
        )
        return samples.flatten(1), new

    def _phases(self, pitch: Tensor, state: SynthState) -> tuple[Tensor, Tensor, Tensor]:
        """Phases `(B, H, 160)` in cycles; increments and phases `(B, H+1)` at all knots."""
        f0 = _hertz(pitch.double())
        after = (f0 * (_CYCLE / SAMPLE_RATE)).round().long()  # (B, H)
        is_new = (state.num_knots == 0)[:, None]
        first = torch.where(is_new, after[:, :1], state.increment[:, None])
        increments = torch.cat([first, after], dim=1)
        before, after = increments[:, :-1, None], increments[:, 1:, None]
        # The sum of n increments that go from one knot to the next in 160 equal steps. Each
        # quotient is of positive numbers, which all runtimes round alike.
        n = torch.arange(1, KNOT_SAMPLES + 1, device=pitch.device)
        q, divisor = n * (n + 1), 2 * KNOT_SAMPLES
        up = torch.div(after * q, divisor, rounding_mode="floor")
        down = torch.div(before * q, divisor, rounding_mode="floor")
        advance = before * n + up - down  # (B, H, 160)
        starts = torch.cat([state.phase[:, None], advance[:, :, -1]], dim=1).cumsum(1) % _CYCLE
        cycles = (starts[:, :-1, None] + advance) % _CYCLE
        return (cycles.double() / _CYCLE).to(pitch.dtype), increments, starts

    def _amplitudes(self, knots: Knots) -> Tensor:
        """The amplitude of each harmonic at each knot, `(B, H, K)`."""
        f0 = _hertz(knots.pitch)[..., None]
        hertz = f0 * self.harmonics  # (B, H, K)
        band = (2595 / math.log(10) * (1 + hertz / 700).log() - self.first_mel) / self.mel_step
        band = band.clamp(0, self.num_bands - 1)
        lower = band.floor().clamp(max=self.num_bands - 2)
        index, share = lower.long(), band - lower
        below = knots.harmonic.gather(2, index)
        above = knots.harmonic.gather(2, index + 1)
        magnitude = (below + (above - below) * share).exp()
        fade = ((_LAST_HZ - hertz) / _FADE_HZ).clamp(0, 1)
        # Power density is per bin of both signs of frequency: A^2 / 2 = 2 f0 / rate * density.
        return magnitude * fade * (4 * f0 / SAMPLE_RATE).sqrt()

    def _harmonics(self, phases: Tensor, amplitudes: Tensor) -> Tensor:
        """The sum of the harmonics, `(B, H, 160)`, with amplitudes linear between knots."""
        waves = (2 * math.pi * phases[..., None] * self.harmonics).cos()  # (B, H, 160, K)
        ends = torch.stack([amplitudes[:, :-1], amplitudes[:, 1:]], dim=3)  # (B, H, K, 2)
        both = waves @ ends  # (B, H, 160, 2)
        share = torch.arange(1, KNOT_SAMPLES + 1, device=phases.device) / KNOT_SAMPLES
        return torch.lerp(both[..., 0], both[..., 1], share.to(phases.dtype))

    def _noise(self, envelope: Tensor, num_knots: Tensor) -> Tensor:
        """Frames of filtered noise under a Hann window, `(B, H, 320)`."""
        offset = torch.arange(envelope.shape[1], device=envelope.device)
        spectra = self.noise_spectra[(num_knots[:, None] + offset) % _NOISE_KNOTS]
        gain = (envelope @ self.noise_bins).exp() + _DITHER  # (B, H, 161)
        return spectra * torch.cat([gain, gain], dim=2) @ self.synthesis

    def _interpolation(self, hertz: np.ndarray) -> np.ndarray:
        """Weights `(N, F)` that interpolate an envelope of bands at frequencies."""
        band = ((mel(hertz) - self.first_mel) / self.mel_step).clip(0, self.num_bands - 1)
        rows = np.arange(self.num_bands)[:, None]
        return (1 - np.abs(band - rows)).clip(0)


def _hertz(pitch: Tensor) -> Tensor:
    bound = MAX_OCTAVES * math.log(2)
    return MIDDLE_F0 * pitch.clamp(-bound, bound).exp()


def _noise_spectra(frame: int) -> np.ndarray:
    """The spectra of the overlapping frames of a repeating white noise of variance 1.

    `(400, 2 (frame / 2 + 1))`: real parts, then imaginary ones. The noise is a linear congruential
    sequence, so it is the same everywhere; neighbouring frames share half of their samples.
    """
    hop = frame // 2
    value, samples = 1, np.empty(_NOISE_KNOTS * hop)
    for index in range(len(samples)):
        value = (6364136223846793005 * value + 1442695040888963407) % 2**64  # Knuth's constants
        samples[index] = (value >> 11) / 2**53
    samples = math.sqrt(12) * (samples - 0.5)
    order = (np.arange(_NOISE_KNOTS)[:, None] * hop + np.arange(frame)) % len(samples)
    spectra = np.fft.rfft(samples[order])
    return np.concatenate([spectra.real, spectra.imag], axis=1)


def _inverse_transform(frame: int) -> np.ndarray:
    """The inverse real Fourier transform and a Hann window as one matrix, `(2 F, frame)`."""
    num_bins = frame // 2 + 1
    basis = np.fft.irfft(np.concatenate([np.eye(num_bins), 1j * np.eye(num_bins)]), frame)
    return basis * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame))
