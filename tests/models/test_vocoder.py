"""The unit vocoder against sums sample by sample; rows of different lengths; hours and dither."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from echostream.models.harmonic_noise import HarmonicNoise, Knots, SynthState
from echostream.models.vocoder import UnitVocoder, VocoderState
from echostream.speech_config import VocoderConfig
from echostream.streaming.state import leaves

K, TOLERANCE = 11, 1e-10


@pytest.fixture(scope="module")
def vocoder() -> UnitVocoder:
    torch.manual_seed(5)
    module = UnitVocoder(VocoderConfig(K, 8, 16, 2, 3, 6, 9)).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def stream(vocoder: UnitVocoder, units: Tensor, lengths: list[int], seed: int) -> list[Tensor]:
    """The samples of each row, whose units come in chunks of its own random sizes, 0 to 5."""
    rng = np.random.default_rng(seed)
    state, done = vocoder.init_state(len(units)), [0] * len(units)
    pieces: list[list[Tensor]] = [[] for _ in lengths]
    while done != lengths:
        counts = [min(int(rng.integers(0, 6)), n - d) for n, d in zip(lengths, done, strict=True)]
        chunk = torch.randint(0, K, (len(units), 5))  # what is not valid is any id
        for row, count in enumerate(counts):
            chunk[row, :count] = units[row, done[row] : done[row] + count]
        valid = torch.arange(5) < torch.tensor(counts)[:, None]
        (samples, num_samples), state = vocoder.step(chunk, state, valid)
        assert num_samples.tolist() == [320 * count for count in counts]
        for row, count in enumerate(counts):
            pieces[row].append(samples[row, : 320 * count])
            assert (samples[row, 320 * count :] == 0).all()
            done[row] += count
    return [torch.cat(row) for row in pieces]


@torch.no_grad()
@pytest.mark.parametrize("seed", range(3))
def test_rows_may_advance_by_different_numbers_of_units(vocoder: UnitVocoder, seed: int) -> None:
    lengths = [60, 1, 33]
    units = torch.randint(0, K, (3, 60), generator=torch.Generator().manual_seed(seed))
    whole = vocoder(units, torch.arange(60) < torch.tensor(lengths)[:, None]).samples
    assert whole.shape == (3, 320 * 60)
    for row, found in enumerate(stream(vocoder, units, lengths, seed)):
        size = 320 * lengths[row]
        assert (found - whole[row, :size]).abs().max() < TOLERANCE
        assert (whole[row, size:] == 0).all()
        alone = vocoder(units[row : row + 1, : lengths[row]]).samples
        assert (alone[0] - whole[row, :size]).abs().max() < TOLERANCE


@torch.no_grad()
def test_a_unit_changes_nothing_before_it(vocoder: UnitVocoder) -> None:
    units = torch.randint(0, K, (1, 20))
    other = units.clone()
    other[0, 12] = (other[0, 12] + 1) % K
    before, after = (vocoder(ids).samples[0] for ids in (units, other))
    assert torch.equal(before[: 320 * 12], after[: 320 * 12])
    assert not torch.equal(before[320 * 12 :][:320], after[320 * 12 :][:320])


def slow_synthesis(knots: Knots, noise: np.ndarray, num_bands: int, num_harmonics: int) -> list:
    """The samples of one stream from its knots, sample by sample."""

    def to_mel(f: float) -> float:
        return 2595 * math.log10(1 + f / 700)

    step = (to_mel(8000) - to_mel(40)) / (num_bands + 1)

    def envelope(values: list[float], f: float) -> float:
        place = min(max((to_mel(f) - to_mel(40)) / step - 1, 0), num_bands - 1)
        low = min(int(place), num_bands - 2)
        share = place - low
        return math.exp(values[low] * (1 - share) + values[low + 1] * share)

    def amplitude(h: int, k: int) -> float:
        f0 = 100 * math.exp(pitch[h])
        fade = min(max((7800 - k * f0) / 400, 0), 1)
        return envelope(harmonic[h], k * f0) * fade * math.sqrt(4 * f0 / 16_000)

    harmonic, hiss, pitch = (part[0].tolist() for part in knots)
    phase, samples = 0.0, []
    for h in range(len(pitch)):
        for n in range(1, 161):
            share = n / 160
            low, high = (100 * math.exp(pitch[max(h + shift, 0)]) for shift in (-1, 0))
            phase += (low + (high - low) * share) / 16_000
            total = 0.0
            for k in range(1, num_harmonics + 1):
                last = amplitude(h - 1, k) if h else 0.0
                total += (last + (amplitude(h, k) - last) * share) * math.cos(
                    2 * math.pi * k * phase
                )
            samples.append(total)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(320) / 320)
    filtered = np.zeros(len(samples) + 160)
    for h in range(len(pitch)):
        gains = [envelope(hiss[h], 50.0 * b) + 3e-5 for b in range(161)]
        frame = np.fft.irfft(np.fft.rfft(noise[160 * h : 160 * h + 320]) * gains)
        filtered[160 * h : 160 * h + 320] += frame * window
    return list(np.array(samples) + filtered[: len(samples)])


def knots_of(num_knots: int, num_bands: int) -> Knots:
    torch.manual_seed(1)
    return Knots(
        0.5 * torch.randn(1, num_knots, num_bands, dtype=torch.float64) - 2,
        0.5 * torch.randn(1, num_knots, num_bands, dtype=torch.float64) - 4,
        0.2 * torch.randn(1, num_knots, dtype=torch.float64),
    )


def noise_of(synthesis: HarmonicNoise, size: int) -> np.ndarray:
    """The samples of the noise, from the spectra of its frames."""
    real, imaginary = synthesis.noise_spectra.double().numpy().reshape(400, 2, 161).swapaxes(0, 1)
    frames = np.fft.irfft(real + 1j * imaginary)
    return np.concatenate([frames[: size // 160, :160].ravel(), frames[size // 160, :160]])


def test_the_samples_are_those_of_a_sum_term_by_term() -> None:
    synthesis, knots = HarmonicNoise(6, 70).double(), knots_of(5, 6)
    found, _ = synthesis.step(knots, torch.tensor([5]), synthesis.init_state(1))
    noise = noise_of(synthesis, 5 * 160 + 160)
    # The noise is stored in float32, and a phase is a multiple of 2^-40 of a cycle.
    assert found[0].tolist() == pytest.approx(slow_synthesis(knots, noise, 6, 70), abs=1e-6)


def test_the_noise_is_white_with_variance_one_and_its_frames_share_their_samples() -> None:
    spectra = HarmonicNoise(6, 4).double().noise_spectra.numpy().reshape(400, 2, 161)
    frames = np.fft.irfft(spectra[:, 0] + 1j * spectra[:, 1])  # (400, 320)
    assert np.abs(frames[:, 160:] - np.roll(frames[:, :160], -1, axis=0)).max() < 1e-5
    samples = frames[:, :160].ravel()
    assert samples.var() == pytest.approx(1, abs=0.02)
    assert (spectra**2).sum(1).mean(0) / 320 == pytest.approx(1, abs=0.4)
    assert abs(np.corrcoef(samples[1:], samples[:-1])[0, 1]) < 0.02


def test_a_quiet_envelope_of_noise_gives_dither_and_no_zeros() -> None:
    synthesis = HarmonicNoise(6, 4)
    silent = Knots(torch.full((1, 50, 6), -20.0), torch.full((1, 50, 6), -20.0), torch.zeros(1, 50))
    samples, _ = synthesis.step(silent, torch.tensor([50]), synthesis.init_state(1))
    assert 2e-5 < samples.std() < 4e-5
    zeros = (samples[0] == 0).int().tolist()
    assert "1, 1" not in str(zeros)


@torch.no_grad()
def test_after_hours_the_samples_are_those_of_the_first_second(vocoder: UnitVocoder) -> None:
    """The noise repeats after 4 s, and the phase after a whole number of cycles."""
    units = torch.randint(0, K, (1, 30))
    early = vocoder.init_state(1)
    _, early = vocoder.step(units, early)
    # 20 hours later, at the same phase and the same place in the noise.
    late = early._replace(
        synthesis=early.synthesis._replace(num_knots=early.synthesis.num_knots + 400 * 18_000)
    )
    found, wanted = vocoder.step(units, late)[0], vocoder.step(units, early)[0]
    assert torch.equal(found.samples, wanted.samples)


@torch.no_grad()
def test_the_state_is_as_large_after_many_steps_and_the_phase_stays_below_a_cycle(
    vocoder: UnitVocoder,
) -> None:
    state: VocoderState = vocoder.init_state(2)
    shapes = [(leaf.shape, leaf.dtype) for leaf in leaves(state)]
    for _ in range(40):
        _, state = vocoder.step(torch.randint(0, K, (2, 7)), state)
    assert [(leaf.shape, leaf.dtype) for leaf in leaves(state)] == shapes
    synthesis: SynthState = state.synthesis
    assert ((synthesis.phase >= 0) & (synthesis.phase < 2**40)).all()
    assert synthesis.num_knots.tolist() == [560, 560]


@torch.no_grad()
def test_in_float32_the_chunks_hardly_matter(vocoder: UnitVocoder) -> None:
    module = UnitVocoder(vocoder.config)
    module.load_state_dict({name: v.float() for name, v in vocoder.state_dict().items()})
    units = torch.randint(0, K, (1, 100))
    whole = module(units).samples[0]
    (found,) = stream(module, units, [100], 0)
    assert (found - whole).abs().max() < 2e-3 * whole.std()


@pytest.mark.parametrize("weights", [1e6, -1e6])
@torch.no_grad()
def test_no_weights_give_samples_that_are_not_finite(weights: float) -> None:
    module = UnitVocoder(VocoderConfig(3, 8, 16, 1, 3, 6, 9))
    units = torch.tensor([[0, 1, 2]])
    module.table.weight.fill_(weights)
    assert module(units).samples.isfinite().all()
    for parameter in module.parameters():
        parameter.fill_(weights)
    assert module(units).samples.isfinite().all()
