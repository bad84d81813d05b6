"""Discrete units of speech: k-means over log-mel features, 50 ids a second.

After Lakhotia et al. 2021 (arXiv:2102.01192), with log-mel features instead of a network's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from echostream.config import ConfigError, load_config, to_dict
from echostream.extras import extra
from echostream.files import make_folder, missing_file, sha256_of, write_whole
from echostream.frontend.unit_features import NUM_FEATURES, unit_features
from echostream.streaming.clock import SAMPLE_RATE, UNIT_SAMPLES

CONFIG = "config.yaml"
CENTROIDS = "centroids.safetensors"
FEATURES = "logmel80"
UNIT_RATE = SAMPLE_RATE // UNIT_SAMPLES  # 50 a second
MAX_UNITS = 100_000
_KEY = "centroids"
_BLOCK = 4096  # frames at a time, so that memory stays bounded


class UnitModelError(ValueError):
    """A unit model that cannot be used; the message names the file or the argument."""


@dataclass(frozen=True)
class UnitConfig:
    """`config.yaml` of a unit model."""

    num_units: int
    features: str = FEATURES
    rate: int = UNIT_RATE  # units a second

    def __post_init__(self) -> None:
        if type(self.num_units) is not int or not 1 <= self.num_units <= MAX_UNITS:
            raise ConfigError(
                f"`num_units` must be 1 to {MAX_UNITS}, but is {self.num_units} instead."
            )
        if self.features != FEATURES:
            raise ConfigError(
                f"`features` must be {FEATURES}, but is {str(self.features)[:80]!r} instead."
            )
        if self.rate != UNIT_RATE:
            raise ConfigError(f"`rate` must be {UNIT_RATE}, but is {self.rate} instead.")


@dataclass(frozen=True)
class UnitModel:
    """Centroids `(K, 80)` in the order of their level: unit 0 is the quietest, a silence."""

    centroids: NDArray[np.float32]

    @property
    def num_units(self) -> int:
        """K, the number of different ids."""
        return len(self.centroids)

    @property
    def silence_unit(self) -> int:
        """The quietest unit; 0 if this module learned the model."""
        return int(self.centroids.mean(1).argmin())

    def extract(self, samples: NDArray[np.floating]) -> NDArray[np.int64]:
        """The units of a recording: (S,) at 16 kHz -> (S // 320,), the id of the nearest centroid.

        Raises ValueError as `unit_features` does.
        """
        frames = unit_features(samples)
        # |x - c|^2 without |x|^2, which is the same for all centroids.
        offset = (self.centroids.astype(np.float64) ** 2).sum(1)
        ids = np.empty(len(frames), np.int64)
        for start in range(0, len(frames), _BLOCK):
            block = frames[start : start + _BLOCK].astype(np.float64)
            ids[start : start + _BLOCK] = (offset - 2 * block @ self.centroids.T).argmin(1)
        return ids

    def save(self, path: str | Path) -> None:
        """Writes the folder, the centroids last."""
        folder = make_folder(path)
        config = yaml.safe_dump(to_dict(UnitConfig(self.num_units)), sort_keys=False)
        write_whole(folder / CONFIG, config)
        write_whole(folder / CENTROIDS, save({_KEY: np.ascontiguousarray(self.centroids)}))

    @classmethod
    def load(cls, path: str | Path) -> UnitModel:
        """The unit model of a folder.

        Raises:
            UnitModelError: if a file is missing, damaged, holds NaN or is of another size.
            ConfigError: if `config.yaml` is of other features, another rate or a wrong number.
        """
        folder = Path(path)
        if name := missing_file(folder, CONFIG, CENTROIDS):
            raise UnitModelError(
                f"{folder} must be a unit model, a folder with {CONFIG} and {CENTROIDS} "
                f"(`echostream units learn` writes one), but has no file {name}."
            )
        config = load_config(UnitConfig, folder / CONFIG)
        file = folder / CENTROIDS
        try:
            found = load_file(file)
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            why = str(error).partition("\n")[0][:200]
            raise UnitModelError(f"{file} is not a readable safetensors file: {why}.") from error
        shape = (config.num_units, NUM_FEATURES)
        if set(found) != {_KEY} or found[_KEY].shape != shape or found[_KEY].dtype != np.float32:
            about = {name: (value.shape, str(value.dtype)) for name, value in found.items()}
            raise UnitModelError(
                f"{file} must hold `{_KEY}` of shape {shape} in float32, by {CONFIG}, but "
                f"holds {str(about)[:200]}."
            )
        if not np.isfinite(found[_KEY]).all():
            raise UnitModelError(f"{file}: `{_KEY}` holds NaN or infinity.")
        return cls(found[_KEY])

    @staticmethod
    def digest(path: str | Path) -> str:
        """SHA-256 of the centroids in a folder, which tells two unit models apart."""
        return sha256_of(Path(path) / CENTROIDS)


def learn_units(
    recordings: Iterable[NDArray[np.floating]], num_units: int, seed: int = 1
) -> UnitModel:
    """k-means over the features of recordings at 16 kHz, by scikit-learn's `MiniBatchKMeans`.

    Raises:
        UnitModelError: if `num_units` is not possible, or there are fewer different frames than
            units.
        ExtraError: if scikit-learn is not installed.
    """
    try:
        UnitConfig(num_units)
    except ConfigError as error:
        raise UnitModelError(str(error)) from error
    with extra("units", "learning units"):
        from sklearn.cluster import MiniBatchKMeans
    blocks = [unit_features(samples) for samples in recordings]
    frames = np.concatenate([np.empty((0, NUM_FEATURES), np.float32), *blocks])
    num_different = len(np.unique(frames, axis=0)) if len(frames) < 50 * num_units else len(frames)
    if num_different < num_units:
        raise UnitModelError(
            f"{num_units} units need as many different frames of 20 ms, but there are "
            f"{num_different}."
        )
    kmeans = MiniBatchKMeans(
        num_units, batch_size=max(4096, 4 * num_units), n_init=1, max_iter=40, random_state=seed
    ).fit(frames)
    centroids = kmeans.cluster_centers_.astype(np.float32)
    return UnitModel(centroids[np.argsort(centroids.mean(1), kind="stable")])
