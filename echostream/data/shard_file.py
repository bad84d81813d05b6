"""Tar files of recordings: written as a whole, and read by the place of a member in the file.

An uncompressed tar file holds each member as a contiguous range of bytes, after a header.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from echostream.files import replacing
from echostream.frontend.audio import AudioError, check_channels, check_rate
from echostream.streaming.clock import SAMPLE_RATE

_MOST_OPEN = 64  # files
_SUFFIX = ".flac"


class Place(NamedTuple):
    """Where the content of a member is in a tar file, in bytes."""

    offset: int
    length: int


def write_shard(path: Path, recordings: Iterable[tuple[str, NDArray[np.float32]]]) -> None:
    """Writes recordings with their names, of 16 kHz and 16 bits in FLAC, under a temporary name."""
    with replacing(path) as temporary, tarfile.open(temporary, "w") as archive:
        for name, samples in recordings:
            content = flac(samples)
            member = tarfile.TarInfo(name + _SUFFIX)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def flac(samples: NDArray[np.float32]) -> bytes:
    """The FLAC file of samples (S,); those that were read from 16 bits are kept exactly."""
    content = io.BytesIO()
    whole = np.rint(samples * 32768).clip(-32768, 32767).astype(np.int16)
    sf.write(content, whole, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return content.getvalue()


def read_members(path: Path) -> dict[str, tuple[Place, float]]:
    """The place and the length in seconds of each recording, by its name.

    Raises OSError, `tarfile.TarError` or `soundfile.LibsndfileError` for a damaged file.
    """
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            content = b"" if file is None else file.read()
            seconds = sf.info(io.BytesIO(content)).duration
            place = Place(member.offset_data, member.size)
            found[member.name.removesuffix(_SUFFIX)] = place, seconds
    return found


class ShardReader:
    """Reads members of tar files, and keeps the files open that were read last."""

    def __init__(self) -> None:
        self._open: dict[Path, int] = {}  # descriptors, the last one used at the end

    def __getstate__(self) -> dict[str, object]:
        return {"_open": {}}  # another process opens its own

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def read(self, path: Path, place: Place) -> tuple[NDArray[np.float32], int]:
        """The samples of a member, (S,) or (S, C), and their rate in Hz.

        Raises AudioError if the file cannot be read or is cut off, if no member is at that place,
        or if it is no recording.
        """
        content = self._member(path, place)
        name = f"{path}, the member at byte {place.offset},"
        try:
            with sf.SoundFile(io.BytesIO(content)) as audio:
                check_rate(name, audio.samplerate)
                check_channels(name, audio.channels)
                samples: NDArray[np.float32] = audio.read(dtype="float32")
                return samples, audio.samplerate
        except sf.LibsndfileError as error:
            raise AudioError(f"{name} cannot be read as audio: {error.error_string}") from error

    def _member(self, path: Path, place: Place) -> bytes:
        """The content of a member, whose header stands before it."""
        try:
            descriptor = self._descriptor(path)
            start = place.offset - tarfile.BLOCKSIZE
            data = os.pread(descriptor, tarfile.BLOCKSIZE + place.length, start)
            size = os.fstat(descriptor).st_size
        except (OSError, ValueError) as error:  # an offset without a header before it
            raise AudioError(f"{path} cannot be read as a shard: {error}.") from error
        if place.offset + place.length > size:
            raise AudioError(
                f"{path} cannot be read at byte {place.offset}: it is cut off after {size} bytes."
            )
        try:
            header = tarfile.TarInfo.frombuf(data[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise AudioError(f"{path} has no member at byte {place.offset}: {error}.") from error
        if header.size != place.length:
            raise AudioError(
                f"{path} has a member of {header.size} bytes at byte {place.offset}, but the table "
                f"has one of {place.length}: they do not belong together."
            )
        return data[tarfile.BLOCKSIZE :]

    def _descriptor(self, path: Path) -> int:
        descriptor = self._open.pop(path, None)
        if descriptor is None:
            while len(self._open) >= _MOST_OPEN:
                os.close(self._open.pop(next(iter(self._open))))
            descriptor = os.open(path, os.O_RDONLY)
        self._open[path] = descriptor
        return descriptor
