"""Global mean and variance normalisation of the features."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echostream.files import replacing
from echostream.frontend.fbank import NUM_MEL_BINS


@dataclass(frozen=True, eq=False)
class GlobalCmvn:
    """One mean and one standard deviation per mel bin, (80,) each, from the training data.

    Global, because the statistics of an utterance are not known before it ends.
    Raises ValueError for other shapes, and for values that are not finite or, in `std`, positive.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values.shape != (NUM_MEL_BINS,):
                raise ValueError(
                    f"`{name}` must have shape ({NUM_MEL_BINS},), "
                    f"but has shape {values.shape} instead."
                )
            if not np.isfinite(values).all():
                raise ValueError(f"`{name}` must be finite, but holds NaN or infinity.")
        if not (self.std > 0).all():
            raise ValueError(
                f"`std` must be positive, but its minimum is {self.std.min()} instead."
            )

    def apply(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Frames with mean 0 and deviation 1 over the training data: (..., 80) -> (..., 80)."""
        return ((frames - self.mean) / self.std).astype(np.float32, copy=False)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> GlobalCmvn:
        """Reads an npz with the keys `mean` and `std`, as StreamSpeech writes it.

        Raises OSError if the file cannot be read, and ValueError naming the path if it is not such
        a file.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                mean, std = (arrays[key].astype(np.float32) for key in ("mean", "std"))
            return cls(mean, std)
        except (
            ValueError,
            KeyError,
            EOFError,
            AttributeError,
            TypeError,
            zipfile.BadZipFile,
        ) as error:
            raise ValueError(f"{path} is not a file of CMVN statistics: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the npz that `load` reads, to a temporary name first."""
        # Given a name, numpy would add .npz to it.
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, mean=self.mean.astype(np.float32), std=self.std.astype(np.float32))
