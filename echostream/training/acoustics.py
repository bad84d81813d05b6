"""The way from speaker to microphone: simulated rooms, noise, and the band of a telephone."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echostream.data.synthetic.augment import NOISES, Noise, draw_noise
from echostream.data.utterance import Utterance
from echostream.streaming.clock import SAMPLE_RATE

Samples = NDArray[np.float32]

_DIRECT_DB = (0.0, 12.0)  # energy of the direct sound to that of all reflections
_FIRST_REFLECTION = 0.003  # s after the direct sound: a detour of a metre
_TELEPHONE_HZ = (200.0, 300.0, 3400.0, 3800.0)  # stop, pass, pass, stop


@dataclass(frozen=True)
class Acoustics:
    """Which utterances are put into a room, into noise and through a telephone, in this order.

    The three are drawn one by one. By default nothing is changed. Word times stay right: no sound
    comes later than before, and no sample is added.
    """

    room_probability: float = 0.0
    t60: tuple[float, float] = (0.1, 0.6)  # s in which reflections fall by 60 dB
    noise_probability: float = 0.0
    snr_db: tuple[float, float] = (5.0, 30.0)
    telephone_probability: float = 0.0

    def __call__(self, utterance: Utterance, rng: np.random.Generator) -> Utterance:
        """The utterance as it is recorded; the same state of `rng` gives the same."""
        # All is drawn before it is known whether it is used, so that one does not change another.
        room, noise, telephone = rng.random(3)
        t60, snr_db = rng.uniform(*self.t60), rng.uniform(*self.snr_db)
        kind: Noise = NOISES[int(rng.integers(len(NOISES)))]
        direct_db, noise_seed = rng.uniform(*_DIRECT_DB), int(rng.integers(2**63))
        samples = utterance.samples
        if room < self.room_probability:
            samples = reverberate(samples, impulse_response(t60, direct_db, rng))
        if noise < self.noise_probability:
            samples = add_noise(samples, kind, snr_db, noise_seed)
        if telephone < self.telephone_probability:
            samples = telephone_band(samples)
        if samples is utterance.samples:
            return utterance
        loudest = max(1.0, float(np.abs(samples).max(initial=0)))
        return dataclasses.replace(utterance, samples=samples / np.float32(loudest))


def impulse_response(t60: float, direct_db: float, rng: np.random.Generator) -> Samples:
    """The response of a room (S,): the direct sound at sample 0, then noise that decays.

    `t60`: seconds in which the reflections fall by 60 dB; `direct_db`: energy of the direct sound,
    which is 1, to theirs.
    """
    time = np.arange(max(2, round(t60 * SAMPLE_RATE))) / SAMPLE_RATE
    response = rng.standard_normal(len(time)) * 10 ** (-3 * time / t60)
    response[time < min(_FIRST_REFLECTION, time[-1])] = 0
    energy = float(np.sum(response**2))
    response *= np.sqrt(10 ** (-direct_db / 10) / energy)
    response[0] = 1
    return response.astype(np.float32)


def reverberate(samples: Samples, response: Samples) -> Samples:
    """`samples` (S,) convolved with a response, of the same length and the same power."""
    size = _fast_size(len(samples) + len(response) - 1)
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    wet = np.fft.irfft(spectrum, size)[: len(samples)]
    power = float(np.mean(wet**2)) if len(wet) else 0.0
    gain = np.sqrt(float(np.mean(samples**2)) / power) if power > 0 else 1.0
    return (wet * gain).astype(np.float32)


def add_noise(samples: Samples, kind: Noise, snr_db: float, seed: int) -> Samples:
    """`samples` (S,) in noise; `snr_db`: mean power of all samples to that of the noise."""
    if not len(samples):
        return samples
    noise = draw_noise(kind, len(samples), seed)
    speech = float(np.mean(np.square(samples, dtype=np.float64)))
    power = float(np.mean(np.square(noise, dtype=np.float64)))
    if power == 0:  # pink noise of a single sample
        return samples
    gain = math.sqrt(speech / power * 10 ** (-snr_db / 10))
    return (samples + gain * noise).astype(np.float32)


def telephone_band(samples: Samples) -> Samples:
    """`samples` (S,) with the frequencies of a telephone of 8 kHz, 300 to 3400 Hz, not delayed."""
    size = _fast_size(2 * len(samples))  # zeros behind, or the end would reach the beginning
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    gains = np.interp(frequencies, _TELEPHONE_HZ, (0.0, 1.0, 1.0, 0.0))
    found = np.fft.irfft(np.fft.rfft(samples, size) * gains, size)[: len(samples)]
    return found.astype(np.float32)


def _fast_size(least: int) -> int:
    return 1 << max(0, least - 1).bit_length()
