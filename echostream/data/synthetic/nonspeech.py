"""Sounds that are not speech: silence, noise, tones, clicks, chords and melodies.

Their text is empty. A model trained on speech alone outputs words for music (eval/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from echostream.data.utterance import Utterance
from echostream.streaming.clock import SAMPLE_RATE

Samples = NDArray[np.float32]
Maker = Callable[[int, np.random.Generator], NDArray[np.float64]]

_SECONDS = (0.5, 6.0)
_PEAK = (0.05, 1.0)
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), tuple(range(12)))
_CHORDS = ((0, 4, 7), (0, 3, 7), (0, 5, 7), (0, 4, 7, 11), (0, 3, 7, 10), (0, 7), (0, 12))


def nonspeech(rng: np.random.Generator) -> Utterance:
    """A sound of 0.5 to 6 s without words; the same state of `rng` gives the same."""
    make = _MAKERS[int(rng.integers(len(_MAKERS)))]
    count = int(rng.uniform(*_SECONDS) * SAMPLE_RATE)
    sound = make(count, rng)
    peak = float(np.abs(sound).max())
    if peak > 0:
        sound = sound * (rng.uniform(*_PEAK) / peak)
    if rng.random() < 0.5:  # as a microphone would add it
        sound = sound + 10 ** rng.uniform(-4, -2) * rng.standard_normal(count)
    samples = np.clip(sound, -1, 1).astype(np.float32)
    return Utterance(make.__name__.strip("_"), samples, "", "", "")


def _silence(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.zeros(count)


def _noise(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Steady noise between two frequencies, its spectrum falling by 0 to 2 powers."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    low, high = sorted(np.exp(rng.uniform(np.log(20), np.log(8000), 2)))
    if rng.random() < 0.5:
        low, high = 20.0, 8000.0
    spectrum *= (frequency >= low) & (frequency <= high)
    return np.fft.irfft(spectrum / np.maximum(frequency, 20) ** rng.uniform(0, 1), count)


def _bursts(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Repeated bursts of noise, as of steps, rustling, or a drum."""
    return _noise(count, rng) * _notes(count, rng, lambda size: _envelope(size, rng))


def _tone(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """One tone with harmonics that holds, glides or wavers; a hum if it is low."""
    start, stop = np.exp(rng.uniform(np.log(40), np.log(4000), 2))
    pitch = np.geomspace(start, stop if rng.random() < 0.4 else start, count)
    return _waver(count, rng) * _sing(pitch * _vibrato(count, rng), rng)


def _clicks(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    sound = np.zeros(count)
    positions = rng.integers(0, count, max(1, int(count / SAMPLE_RATE * rng.uniform(1, 30))))
    sound[positions] = rng.uniform(-1, 1, len(positions))
    return sound


def _chords(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    timbre = int(rng.integers(2**32))
    root = rng.uniform(80, 400)
    scale = _SCALES[int(rng.integers(len(_SCALES)))]

    def chord(size: int) -> NDArray[np.float64]:
        steps = _CHORDS[int(rng.integers(len(_CHORDS)))]
        lowest = scale[int(rng.integers(len(scale)))]
        pitches = root * 2 ** ((lowest + np.array(steps)) / 12)
        voices = [_sing(np.full(size, p), np.random.default_rng(timbre)) for p in pitches]
        return np.asarray(np.sum(voices, axis=0) * _envelope(size, rng))

    return np.asarray(_waver(count, rng) * _notes(count, rng, chord))


def _melody(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    timbre = int(rng.integers(2**32))
    root = np.exp(rng.uniform(np.log(100), np.log(1000)))
    scale = _SCALES[int(rng.integers(len(_SCALES)))]

    def note(size: int) -> NDArray[np.float64]:
        step = scale[int(rng.integers(len(scale)))] + 12 * int(rng.integers(2))
        pitch = np.full(size, root * 2 ** (step / 12)) * _vibrato(size, rng)
        return _sing(pitch, np.random.default_rng(timbre)) * _envelope(size, rng)

    return _notes(count, rng, note)


def _music(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Several of the others at once."""
    parts = [_melody(count, rng), _chords(count, rng), _bursts(count, rng), _tone(count, rng)]
    weights = rng.uniform(0, 1, len(parts)) * (rng.random(len(parts)) < 0.6)
    weights[int(rng.integers(len(parts)))] = 1.0
    peaks = [max(float(np.abs(part).max()), 1e-9) for part in parts]
    scaled = [w / m * p for w, m, p in zip(weights, peaks, parts, strict=True)]
    return np.asarray(np.sum(scaled, axis=0))


_MAKERS: tuple[Maker, ...] = (
    _silence, _noise, _bursts, _tone, _clicks, _chords, _chords, _melody, _melody, _music, _music
)  # fmt: skip


def _notes(
    count: int, rng: np.random.Generator, note: Callable[[int], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Notes one after the other, 0.5 to 12 a second: in time, or not; some are rests."""
    length = SAMPLE_RATE / np.exp(rng.uniform(np.log(0.5), np.log(12)))
    steady, rests = rng.random() < 0.6, rng.uniform(0, 0.3)
    parts: list[NDArray[np.float64]] = []
    filled = 0
    while filled < count:
        size = max(160, int(length * (1 if steady else rng.uniform(0.4, 2))))
        parts.append(np.zeros(size) if rng.random() < rests else note(size))
        filled += size
    return np.concatenate(parts)[:count]


def _envelope(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A quick or slow beginning, then steady or dying away, and a short end."""
    time = np.arange(size) / SAMPLE_RATE
    rise = np.minimum(1, time / rng.uniform(0.001, 0.08))
    fall = np.minimum(1, time[::-1] / rng.uniform(0.001, 0.08))
    decay = rng.choice([0.0, rng.uniform(1, 12)])
    return np.asarray(rise * fall * np.exp(-decay * time) * rng.uniform(0.5, 1))


def _sing(pitch: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A tone of a pitch (S,) in Hz with up to 16 harmonics; its timbre is drawn from `rng`."""
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    number = np.arange(1, int(rng.integers(1, 17)) + 1)
    power = number ** -rng.uniform(0, 2.5) * rng.uniform(0.2, 1, len(number))
    if rng.random() < 0.3:
        power[1::2] = 0.0  # as in a clarinet or a square wave
    if rng.random() < 0.4:  # resonances, as in strings, horns and a humming voice
        frequency = number * float(pitch.mean())
        for centre in np.exp(rng.uniform(np.log(200), np.log(4000), 3)):
            power = power * (0.2 + np.exp(-(((frequency - centre) / (0.3 * centre)) ** 2)))
    sound = np.zeros(len(pitch))
    for n, p in zip(number, power, strict=True):
        if p > 0 and n * float(pitch.max()) < SAMPLE_RATE / 2:
            sound += p * np.sin(n * phase)
    return sound


def _vibrato(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A factor of the pitch, within half a tone."""
    depth = rng.choice([0.0, rng.uniform(0, 0.03)])
    time = np.arange(size) / SAMPLE_RATE
    return np.asarray(1 + depth * np.sin(2 * np.pi * rng.uniform(3, 8) * time))


def _waver(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A loudness that is steady, or moves up and down 0.2 to 10 times a second."""
    depth = rng.choice([0.0, rng.uniform(0, 1)])
    time = np.arange(count) / SAMPLE_RATE
    speed = np.exp(rng.uniform(np.log(0.2), np.log(10)))
    return np.asarray(1 - depth * (0.5 + 0.5 * np.sin(2 * np.pi * speed * time)))
