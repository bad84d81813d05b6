"""Variation of synthetic speech: rate, pitch, speed, gain, noise and silence."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Noise = Literal["none", "white", "pink"]
NOISES: tuple[Noise, ...] = ("white", "pink")  # those that are any
Range = tuple[float, float]


@dataclass(frozen=True)
class Variation:
    """The ranges from which the rendering of one utterance is drawn, each uniformly.

    `speed` resamples: 1.1 is 10 % shorter and moves pitch and formants up by as much. `snr_db` is
    speech to noise; each of `noises` is equally probable.
    """

    rate_wpm: Range
    pitch: Range
    speed: Range
    gain_db: Range
    noises: tuple[Noise, ...]
    snr_db: Range
    silence_before_ms: Range
    silence_after_ms: Range


@dataclass(frozen=True)
class Rendering:
    """One draw of a `Variation`."""

    rate_wpm: int
    pitch: int
    speed: float
    gain_db: float
    noise: Noise
    snr_db: float
    silence_before_ms: float
    silence_after_ms: float
    noise_seed: int


TRAIN_VARIATION = Variation(
    rate_wpm=(120, 220),
    pitch=(20, 80),
    speed=(0.9, 1.1),
    gain_db=(-12, 0),
    noises=("none", "white", "pink"),
    snr_db=(15, 40),
    silence_before_ms=(50, 250),
    silence_after_ms=(100, 400),
)
# Of sentences that are kept on disk: noise is added in training, where it differs in each epoch.
SENTENCE_VARIATION = dataclasses.replace(
    TRAIN_VARIATION, rate_wpm=(140, 210), noises=("none",), silence_before_ms=(50, 300)
)
TEST_VARIATION = Variation(
    rate_wpm=(150, 190),
    pitch=(40, 60),
    speed=(1, 1),
    gain_db=(-6, 0),
    noises=("white",),
    snr_db=(35, 45),
    silence_before_ms=(100, 200),
    silence_after_ms=(200, 300),
)


def draw_rendering(variation: Variation, rng: random.Random) -> Rendering:
    """One rendering; the same state of `rng` gives the same."""

    def draw(bounds: Range) -> float:
        return bounds[0] + (bounds[1] - bounds[0]) * rng.random()

    return Rendering(
        rate_wpm=round(draw(variation.rate_wpm)),
        pitch=round(draw(variation.pitch)),
        speed=draw(variation.speed),
        gain_db=draw(variation.gain_db),
        noise=variation.noises[int(rng.random() * len(variation.noises))],
        snr_db=draw(variation.snr_db),
        silence_before_ms=draw(variation.silence_before_ms),
        silence_after_ms=draw(variation.silence_after_ms),
        noise_seed=rng.getrandbits(63),
    )


def render(
    speech: NDArray[np.float32], rendering: Rendering, sample_rate: int
) -> tuple[NDArray[np.float32], float]:
    """`speech` (S,) with silence, gain and noise: (S',), and the seconds of silence before it."""
    before = round(rendering.silence_before_ms * sample_rate / 1000)
    after = round(rendering.silence_after_ms * sample_rate / 1000)
    samples = np.pad(speech * np.float32(10 ** (rendering.gain_db / 20)), (before, after))
    if rendering.noise != "none":
        power = float(np.mean(np.square(samples[before : samples.size - after])))
        noise = draw_noise(rendering.noise, samples.size, rendering.noise_seed)
        samples += noise * np.float32(np.sqrt(power * 10 ** (-rendering.snr_db / 10)))
    return np.clip(samples, -1.0, 1.0).astype(np.float32), before / sample_rate


def draw_noise(kind: Noise, count: int, seed: int) -> NDArray[np.float32]:
    """`count` samples of noise with power 1."""
    white = np.random.default_rng(seed).standard_normal(count, dtype=np.float32)
    if kind == "white":
        return white
    # A power of two keeps the transform fast for every length.
    size = 1 << (count - 1).bit_length()
    spectrum = np.fft.rfft(white, size)
    spectrum[0] = 0.0
    spectrum[1:] /= np.sqrt(np.arange(1, spectrum.size))
    pink = np.fft.irfft(spectrum, size)[:count]
    return (pink / max(float(np.sqrt(np.mean(np.square(pink)))), 1e-12)).astype(np.float32)
