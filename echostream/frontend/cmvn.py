"""Global mean and variance normalisation of the features."""

from __future__ import annotations

import io
import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from echostream.files import replacing
from echostream.frontend.fbank import NUM_MEL_BINS

# Two arrays of 80 numbers are 2 KB; but a zip file of 1 KB can unpack to gigabytes.
_MAX_FILE_BYTES, _MAX_ARRAY_BYTES = 2**20, 2**14
# The exceptions of the standard library and numpy for a damaged zip file or array.
_UNREADABLE = (
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    RuntimeError,  # also NotImplementedError (compression) and RecursionError (header)
    MemoryError,
    OverflowError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


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
        """Reads an npz with the keys `mean` and `std`, as written by StreamSpeech.

        Raises OSError if the file cannot be read, and ValueError naming the path if it is not such
        a file.
        """
        with Path(path).open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        try:
            mean, std = (_read_array(content, key) for key in ("mean", "std"))
            return cls(mean, std)
        except _UNREADABLE as error:
            why = str(error).partition("\n")[0][:200] or type(error).__name__
            raise ValueError(f"{path} is not a file of CMVN statistics: {why}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an npz for `load`, atomically.

        The same statistics give the same bytes (`numpy.savez` stores the time).
        """
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, values in (("mean", self.mean), ("std", self.std)):
                content = io.BytesIO()
                npy.write_array(content, values.astype(np.float32), allow_pickle=False)
                entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                entry.create_system = 3  # Unix, wherever it is written
                archive.writestr(entry, content.getvalue())


def _read_array(content: bytes, key: str) -> NDArray[np.float32]:
    """One array of an npz; its size is checked before it is unpacked."""
    if len(content) > _MAX_FILE_BYTES:
        raise ValueError(f"it must have at most {_MAX_FILE_BYTES} bytes, but has more.")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if name in (f"{key}.npy", key)]
        if len(names) != 1:
            raise ValueError(f"it must hold the array `{key}` once, but holds {len(names)}.")
        entry = archive.getinfo(names[0])
        if entry.flag_bits & 1:
            raise ValueError(f"`{key}` is encrypted.")
        if entry.file_size > _MAX_ARRAY_BYTES:
            raise ValueError(
                f"`{key}` must have at most {_MAX_ARRAY_BYTES} bytes, but has {entry.file_size}."
            )
        with archive.open(entry) as packed:
            stream = io.BytesIO(packed.read(_MAX_ARRAY_BYTES))
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if dtype.kind not in "fiu":
        raise ValueError(f"`{key}` must hold real numbers, but holds {dtype}.")
    if shape != (NUM_MEL_BINS,):
        raise ValueError(f"`{key}` must have shape ({NUM_MEL_BINS},), but has shape {shape}.")
    stream.seek(0)
    with np.errstate(over="ignore"):  # too large for float32 becomes infinity, which is refused
        return np.asarray(npy.read_array(stream, allow_pickle=False), dtype=np.float32)
