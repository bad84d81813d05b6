"""What the vocoder is trained on: units, pitch, and the table of controls in closed form."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from echostream.config import ConfigError
from echostream.data.unit_table import UnitTable
from echostream.data.units import UnitModel
from echostream.files import write_whole
from echostream.frontend.unit_features import mel_bands
from echostream.models.harmonic_noise import BAND_LOWEST_HZ, KNOT_SAMPLES, MIDDLE_F0
from echostream.models.vocoder import KNOTS_PER_UNIT
from echostream.streaming.clock import UNIT_SAMPLES
from echostream.training.vocoder.config import VocoderTrainConfig
from echostream.training.vocoder.pitch import track_pitch

logger = logging.getLogger(__name__)

FILE = "targets.safetensors"
_WINDOW, _FFT = 640, 1024
_BAND_HZ = 110.0  # half width of a band at least: the gaps between harmonics are bridged
_FLOOR = 1e-9  # power density, -90 dB
# The share of the harmonics in a voiced spectrum falls from 1 at the first frequency to 0.
_HARMONIC_HZ = (2000.0, 6500.0)


@dataclass(frozen=True)
class Targets:
    """Utterance i has the units `starts[i]` to `starts[i + 1]`, and two knots for each."""

    units: NDArray[np.int32]  # (T,)
    starts: NDArray[np.int64]  # (number of utterances + 1,)
    pitch: NDArray[np.float32]  # (2 T,) log(f0 / 100 Hz)
    voicing: NDArray[np.float32]  # (2 T,) 0 to 1
    table: NDArray[np.float32]  # (K, controls of a unit)

    def save(self, path: Path) -> None:
        """Writes all arrays to a file."""
        write_whole(path, save(dict(vars(self))))

    @classmethod
    def load(cls, path: Path) -> Targets:
        """The arrays of a file that `save` wrote.

        Raises ConfigError naming the file, if it is damaged.
        """
        try:
            return cls(**load_file(path))
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise ConfigError(f"{path} is damaged ({error}); remove it.") from error


def make_targets(config: VocoderTrainConfig, units: UnitModel, table: UnitTable) -> Targets:
    """Analyses the recordings; takes about 2 % of their duration.

    Raises ConfigError if none is long enough, or if the recordings are silent.
    """
    num_bands = config.network.num_bands
    rows = table.rows[: config.data.max_utterances]
    num_controls = KNOTS_PER_UNIT * (2 * num_bands + 1)
    sums = np.zeros((units.num_units, KNOTS_PER_UNIT, 2 * num_bands + 2))
    counts = np.zeros(units.num_units)
    ids, starts, pitches, voicings = [], [0], [], []
    loudest = 0.0
    for row in rows:
        samples = table.samples(row)
        samples = samples[: len(samples) // UNIT_SAMPLES * UNIT_SAMPLES]
        loudest = max(loudest, float(np.abs(samples).max(initial=0)))
        found = units.extract(samples)
        pitch, voicing = track_pitch(samples, config.data.lowest_hz, config.data.highest_hz)
        log_pitch = np.log(pitch / MIDDLE_F0)
        parts = _parts(samples, voicing, num_bands)  # (2 T, 2 N)
        weight = voicing + 1e-3
        values = np.column_stack([parts, weight * log_pitch, weight])
        np.add.at(sums, found, values.reshape(len(found), KNOTS_PER_UNIT, -1))
        np.add.at(counts, found, 1)
        ids.append(found.astype(np.int32))
        starts.append(starts[-1] + len(found))
        pitches.append(log_pitch)
        voicings.append(voicing)
    if loudest < 1e-3:
        raise ConfigError(f"the recordings of {table.path} are silent.")
    mean = sums / np.maximum(counts, 1)[:, None, None]
    controls = np.concatenate(
        [0.5 * np.log(mean[..., :-2] + _FLOOR), mean[..., -2:-1] / (mean[..., -1:] + 1e-9)], axis=2
    )
    logger.info(
        "%d utterances, %.0f s, %d of %d units occur",
        *(len(rows), starts[-1] * UNIT_SAMPLES / 16_000, (counts > 0).sum(), units.num_units),
    )
    return Targets(
        np.concatenate(ids),
        np.array(starts, np.int64),
        np.concatenate(pitches).astype(np.float32),
        np.concatenate(voicings).astype(np.float32),
        controls.reshape(-1, num_controls).astype(np.float32),
    )


def _parts(
    samples: NDArray[np.float32], voicing: NDArray[np.float32], num_bands: int
) -> NDArray[np.float64]:
    """Power density of the harmonics and of the noise in each band, `(H, 2 N)`."""
    margin = (_WINDOW - KNOT_SAMPLES) // 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    window /= np.sqrt((window**2).sum())
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, margin), _WINDOW)
    power = np.abs(np.fft.rfft(frames[::KNOT_SAMPLES] * window, _FFT)) ** 2
    bands = mel_bands(num_bands, _FFT, BAND_LOWEST_HZ, _BAND_HZ)
    density = power @ bands
    bins = np.arange(_FFT // 2 + 1) * 16_000 / _FFT
    centres = (bins @ bands) / bands.sum(0)
    first, last = _HARMONIC_HZ
    share = voicing[:, None] * ((last - centres) / (last - first)).clip(0, 1)
    return np.concatenate([density * share, density * (1 - share)], axis=1)
