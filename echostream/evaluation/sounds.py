"""Sounds without speech, whose translation is empty: a test set, not part of the training.

`echostream.data.synthetic.nonspeech` generates those of the training with other formulas. Bells,
plucked strings, sirens, telephones, birds, surf and applause are kinds that it does not contain.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from echostream.streaming import SAMPLE_RATE

Samples = NDArray[np.float32]
Wave = NDArray[np.float64]

PEAK = 0.5
C_MAJOR = (261.6, 329.6, 392.0)
PROGRESSION = (C_MAJOR, (220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7))


def sounds(seconds: float) -> dict[str, Samples]:
    """Every sound by its name, (S,) at 16 kHz, with a peak of 0.5 unless it is silence."""
    count = int(seconds * SAMPLE_RATE)
    made: dict[str, Samples] = {}
    for name, make in _SOUNDS.items():
        sound = make(np.arange(count) / SAMPLE_RATE, np.random.default_rng(len(made)))
        peak = float(np.abs(sound).max())
        made[name] = (sound * (PEAK / peak if peak else 1.0)).astype(np.float32)
    return made


def _every(time: Wave, period: float, note: Callable[[int, Wave], Wave]) -> Wave:
    """A note every `period` seconds; `note(i, t)`: samples of note i at t seconds in it."""
    index = np.floor(time / period).astype(int)
    parts = [note(i, time[index == i] - i * period) for i in range(index[-1] + 1)]
    return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])


def _chord(pitches: tuple[float, ...], time: Wave, harmonics: int) -> Wave:
    tones = [np.sin(2 * np.pi * p * n * time) / n for p in pitches for n in range(1, harmonics + 1)]
    total: Wave = np.sum(tones, axis=0, dtype=np.float64)
    return total


def _chords(period: float, harmonics: int, decay: float = 0.0) -> Callable[..., Wave]:
    def make(time: Wave, rng: np.random.Generator) -> Wave:
        return _every(
            time,
            period,
            lambda i, t: _chord(PROGRESSION[i % 4], t, harmonics) * np.exp(-decay * t),
        )

    return make


def _scale(time: Wave, rng: np.random.Generator) -> Wave:
    steps = (0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2)
    return _every(
        time,
        0.25,
        lambda i, t: np.sin(2 * np.pi * 440 * 2 ** (steps[i % 14] / 12) * t) * np.exp(-3 * t),
    )


def _plucked(time: Wave, rng: np.random.Generator) -> Wave:
    """Karplus and Strong 1983: noise in a delay line that is averaged at each turn."""

    def note(i: int, t: Wave) -> Wave:
        size = round(SAMPLE_RATE / PROGRESSION[i // 3 % 4][i % 3])
        line, out = rng.uniform(-1, 1, size), list[Wave]()
        while sum(len(part) for part in out) < len(t):
            out.append(line)
            line = 0.498 * (line + np.roll(line, 1))
        return np.concatenate(out)[: len(t)]

    return _every(time, 0.3, note)


def _bells(time: Wave, rng: np.random.Generator) -> Wave:
    """Frequency modulation with a ratio that is not an integer (Chowning 1973)."""

    def note(i: int, t: Wave) -> Wave:
        pitch = (523.3, 659.3, 392.0, 587.3)[i % 4]
        swing = 6 * np.exp(-2 * t) * np.sin(2 * np.pi * pitch * 1.4 * t)
        wave: Wave = np.exp(-1.5 * t) * np.sin(2 * np.pi * pitch * t + swing)
        return wave

    return _every(time, 0.9, note)


def _siren(time: Wave, rng: np.random.Generator) -> Wave:
    pitch = 800 + 400 * np.sin(2 * np.pi * 0.5 * time)
    return np.sin(2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE)


def _telephone(time: Wave, rng: np.random.Generator) -> Wave:
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    return _every(
        time,
        0.2,
        lambda i, t: _chord((rows[i % 4], columns[i * 7 % 3]), t, 1) * (t < 0.12),
    )


def _drums(time: Wave, rng: np.random.Generator) -> Wave:
    def hit(i: int, t: Wave) -> Wave:
        if i % 4 == 0:
            return np.sin(2 * np.pi * 60 * (1 - np.exp(-20 * t)) / 0.4) * np.exp(-12 * t)
        noise = rng.standard_normal(len(t))
        return noise * np.exp(-(20 if i % 4 == 2 else 60) * t) * (0.7 if i % 4 == 2 else 0.3)

    return _every(time, 0.15, hit)


def _birds(time: Wave, rng: np.random.Generator) -> Wave:
    def chirp(i: int, t: Wave) -> Wave:
        pitch = rng.uniform(2500, 4500) * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(8, 25) * t))
        return np.sin(2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE) * (t < 0.2) * (i % 3 != 2)

    return _every(time, 0.3, chirp)


def _surf(time: Wave, rng: np.random.Generator) -> Wave:
    noise = np.cumsum(rng.standard_normal(len(time)))
    return np.diff(noise, prepend=0.0) * (0.1 + np.sin(2 * np.pi * 0.2 * time) ** 2)


def _applause(time: Wave, rng: np.random.Generator) -> Wave:
    claps = (rng.random(len(time)) < 200 / SAMPLE_RATE) * rng.uniform(0.2, 1, len(time))
    ring = np.exp(-np.arange(400) / 80) * rng.standard_normal(400)
    return np.convolve(claps, ring)[: len(time)]


def _pink(time: Wave, rng: np.random.Generator) -> Wave:
    spectrum = np.fft.rfft(rng.standard_normal(len(time)))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), len(time))


def _song(time: Wave, rng: np.random.Generator) -> Wave:
    parts = [_chords(1.0, 4)(time, rng), _scale(time, rng), _drums(time, rng)]
    mixed: Wave = np.sum([part / np.abs(part).max() for part in parts], axis=0)
    return mixed


_SOUNDS: dict[str, Callable[[Wave, np.random.Generator], Wave]] = {
    name: lambda time, rng, make=make: np.asarray(make(time, rng), dtype=np.float64)  # type: ignore[misc]
    for name, make in {
        "silence": lambda time, rng: 0 * time,
        "white noise": lambda time, rng: rng.standard_normal(len(time)),
        "pink noise": _pink,
        "noise bursts, 2 a second": lambda time, rng: (time % 0.5 < 0.2) * _pink(time, rng),
        "noise bursts, 5 a second": lambda time, rng: (time % 0.2 < 0.1) * _pink(time, rng),
        "tone, 440 Hz": lambda time, rng: np.sin(2 * np.pi * 440 * time),
        "tone, 150 Hz with harmonics": lambda time, rng: _chord((150.0,), time, 12),
        "hum, 50 Hz": lambda time, rng: _chord((50.0,), time, 6),
        "clicks, 4 a second": lambda time, rng: (time % 0.25 < 2 / SAMPLE_RATE) * 1.0,
        "sweep, 100 to 4000 Hz": lambda time, rng: np.sin(
            2 * np.pi * np.cumsum(np.geomspace(100, 4000, len(time))) / SAMPLE_RATE
        ),
        "chords, 1 a second": _chords(1.0, 1),
        "chords, 2 a second": _chords(0.5, 1),
        "chords, 2 a second, with harmonics": _chords(0.5, 8),
        "chords, 4 a second, with harmonics": _chords(0.25, 8),
        "chords, 2 a second, dying away": _chords(0.5, 5, decay=4.0),
        "scale, 4 notes a second": _scale,
        "plucked strings": _plucked,
        "bells": _bells,
        "siren": _siren,
        "telephone keys": _telephone,
        "drums": _drums,
        "birds": _birds,
        "surf": _surf,
        "applause": _applause,
        "chords, melody and drums": _song,
    }.items()
}
