"""Decodes an audio file as far as possible, without relying on the lengths in its header.

libsndfile trusts the header. Here a file is read in blocks until it ends; the number of samples in
the header only serves to detect that some are missing.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from echostream.frontend import chunks
from echostream.frontend.mpeg import Mpeg, find_mpeg

UNKNOWN_LENGTH = 2**62  # libsndfile's length of a stream with an unknown length is above this
# Small, because an error inside a block loses the samples of that block.
_BLOCK_FRAMES = 4096
# A small compressed file can hold a huge silence. Speech has fewer samples per byte.
_ALWAYS_READ = 2**26  # samples of all channels: 70 minutes of 16 kHz
_MOST_PER_BYTE = 100
# Sizes in WAV headers written to a pipe, in which the writer cannot seek back.
_UNKNOWN_SIZES = range(0x7FFF_0000, 1 << 32)


class Decoded(NamedTuple):
    """The samples that could be decoded, and the fault of the file."""

    samples: NDArray[np.float32]  # (S,) or (S, C)
    sample_rate: int
    kind: str = ""  # of the fault, without figures; "" if there is none
    fault: str = ""  # the same with the figures of this file
    whole: bool = True  # whether all samples could be decoded nevertheless


class SequentialFile(sf.SoundFile):  # type: ignore[misc]
    """A file that is only read sequentially.

    For a seekable file, soundfile allocates the length of the header and seeks after each read.
    The seeks break MP3, and lose the last block of a file with fewer samples than declared. A file
    that is not seekable is read until it ends.
    """

    def seekable(self) -> bool:
        """False."""
        return False


class _Copy(mmap.mmap):
    """A private (copy-on-write) memory map of a file."""

    def seek(self, pos: int, whence: int = os.SEEK_SET) -> int:  # type: ignore[override]
        """Seeks, at most to the end: libsndfile skips chunks of any declared size."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: len(self)}[whence]
        super().seek(min(max(base + pos, 0), len(self)))
        return self.tell()


def decode(path: bytes | str) -> Decoded:
    """All samples of a regular file that can be decoded; S may be 0.

    Raises `soundfile.LibsndfileError` if libsndfile does not know the format, TypeError for .raw,
    and OSError if the file cannot be opened.
    """
    with SequentialFile(path) as file:
        if file.format == "MP3":
            mpeg = find_mpeg(path)
            if mpeg is not None:
                return _decode_mpeg(path, mpeg)
        elif file.format in chunks.FORMATS:
            one_second = file.samplerate * file.channels
            uncounted = chunks.find_uncounted(path, file.format, one_second)
            if uncounted is not None:
                return _decode_uncounted(path, uncounted)
        samples, fault = _read_blocks(file, most_samples(path, file.channels))
        declared, rate, log, kind = file.frames, file.samplerate, file.extra_info, file.format
    if fault:
        return Decoded(samples, rate, fault, fault, whole=False)
    if len(samples) < declared < UNKNOWN_LENGTH:
        fault = f"{declared} samples are declared but {len(samples)} follow"
        return Decoded(samples, rate, "fewer samples than declared", fault, whole=False)
    if fault := short_data(log):
        return Decoded(samples, rate, "fewer bytes than declared", fault, whole=False)
    if kind == "OGG" and (fault := _ogg_fault(path)):
        return Decoded(samples, rate, fault, fault, whole=False)
    return Decoded(samples, rate)


def most_samples(path: bytes | str, num_channels: int) -> int:
    """The most samples per channel that a file of this size may hold."""
    return max(_ALWAYS_READ, _MOST_PER_BYTE * os.path.getsize(path)) // num_channels


def short_data(log: str) -> str:
    """The fault of a file that ends too early, which libsndfile only writes to its parse log."""
    # The chunk of samples in WAV and AIFF, its size in AU, the whole file in W64.
    pattern = r"^ *(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)"
    match = re.search(pattern, log, re.MULTILINE)
    if match is None or int(match[1]) in _UNKNOWN_SIZES or int(match[1]) <= int(match[2]):
        return ""
    return f"the header declares {match[1]} bytes of audio but {match[2]} follow"


def _read_blocks(file: sf.SoundFile, most: int) -> tuple[NDArray[np.float32], str]:
    blocks: list[NDArray[np.float32]] = []
    num_read, fault = 0, ""
    try:
        while len(block := file.read(_BLOCK_FRAMES, dtype="float32")):
            blocks.append(block)
            num_read += len(block)
            if num_read > most:
                fault = f"more than {_MOST_PER_BYTE} samples per byte are not speech"
                break
    except sf.LibsndfileError:
        fault = "the rest is cut off or damaged"
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32), fault


def _decode_uncounted(path: bytes | str, uncounted: chunks.Uncounted) -> Decoded:
    with open(path, "rb") as file:
        data = _Copy(file.fileno(), 0, access=mmap.ACCESS_COPY)
    with data:
        data[uncounted.position : uncounted.position + 4] = uncounted.unknown_size
        with SequentialFile(data) as audio:
            samples, fault = _read_blocks(audio, most_samples(path, audio.channels))
            rate = audio.samplerate
    if fault:
        return Decoded(samples, rate, fault, fault, whole=False)
    return Decoded(samples, rate, "more bytes than declared", uncounted.fault)


def _decode_mpeg(path: bytes | str, mpeg: Mpeg) -> Decoded:
    """Decodes MPEG audio through a pipe, because libsndfile stops at the estimated end of a file.

    Without a Xing or Info header it estimates the length from the bit rate of the first frame. For
    a pipe there is no estimate.
    """
    with (
        _piped(path, mpeg.start) as descriptor,
        SequentialFile(descriptor, closefd=False) as file,
    ):
        samples, fault = _read_blocks(file, most_samples(path, file.channels))
        declared, rate = file.frames, file.samplerate
    if fault:
        return Decoded(samples, rate, fault, fault, whole=False)
    if len(samples) < declared < UNKNOWN_LENGTH:
        fault = f"{declared} samples are declared but {len(samples)} follow"
        return Decoded(samples, rate, "fewer samples than declared", fault, whole=False)
    if mpeg.num_uncounted:
        fault = f"the Xing header leaves out the last {mpeg.num_uncounted} bytes"
        return Decoded(samples, rate, "the Xing header leaves out the rest", fault, whole=False)
    return Decoded(samples, rate)


@contextlib.contextmanager
def _piped(path: bytes | str, start: int) -> Iterator[int]:
    """The read end of a pipe with the bytes of a file from `start` on."""
    reading, writing = os.pipe()

    def write() -> None:
        # The reader may close the pipe early.
        with (
            contextlib.suppress(BrokenPipeError),
            open(writing, "wb") as pipe,
            open(path, "rb") as file,
        ):
            file.seek(start)
            while piece := file.read(1 << 16):
                pipe.write(piece)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield reading
    finally:
        os.close(reading)
        writer.join()


def _ogg_fault(path: bytes | str) -> str:
    """The fault of an Ogg file by the begin and end flags of its pages."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        flags = [data[match.end()] for match in _ogg_pages(data)]
    if not flags:
        return ""
    num_first = next((n for n, flag in enumerate(flags) if not flag & 2), len(flags))
    if any(flag & 2 for flag in flags[num_first:]):
        return "only the first of several streams, one after the other, is read"
    return "" if flags[-1] & 4 else "the stream has no end: it is cut off"


def _ogg_pages(data: Any) -> Iterator[re.Match[bytes]]:
    return re.finditer(rb"OggS\0(?=.)", data, re.DOTALL)
