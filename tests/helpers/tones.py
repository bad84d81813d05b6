"""Target speech of tones: a low buzz of changing pitch and colour, which has clear units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

COLUMNS = "id\tsrc_audio\ttgt_text\ttgt_audio\ttgt_n_frames\ttgt_word_ends"


def buzz(num_units: int, seed: int, hertz: float = 100.0) -> NDArray[np.float32]:
    """Harmonics of a pitch near `hertz` with a slowly changing spectrum, and a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(320 * num_units) / 16_000
    pitch = hertz * (1 + 0.1 * np.sin(2 * np.pi * (1.5 * time + rng.random())))
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    formant = 900 + 500 * np.sin(2 * np.pi * (2 * time + rng.random()))
    samples = np.zeros(len(time))
    for k in range(1, 25):
        samples += np.exp(-np.abs(k * pitch - formant) / 300) * np.cos(k * phase)
    return (0.05 * samples + rng.normal(0, 0.002, len(time))).astype(np.float32)


def write_speech_table(folder: Path, count: int = 3, num_units: int = 40) -> Path:
    """A table of `count` recordings in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [COLUMNS]
    for index in range(count):
        sf.write(folder / f"t{index}.flac", buzz(num_units, index), 16_000)
        lines.append(f"t{index}\tnone.wav\tla la\tt{index}.flac\t{num_units}\t20 {num_units}")
    path = folder / "train.speech.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
