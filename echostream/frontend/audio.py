"""Reads audio files and pipes, and checks and cleans samples."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from echostream.frontend.audio_file import decode
from echostream.frontend.file_kinds import HEAD_BYTES, perhaps_not_audio, surely_not_audio

logger = logging.getLogger(__name__)

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 768_000  # Hz; other values are taken for errors
MAX_STREAM_BYTES = 2 << 30
_PIECE_BYTES = 1 << 20  # of a pipe, read at a time; far more than libsndfile needs to find a format
MAX_CHANNELS = 64  # of the largest microphone arrays; more are samples in the place of channels
_UNKNOWN_FORMAT = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
# Far above any recording, far below what overflows float32 when fbank takes the power.
_LOUDEST = 1e6

AudioPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class AudioError(ValueError):
    """A file that cannot be read as audio; the message names the path and the reason."""


class FaultyFiles:
    """Warnings for files that can only be read in part, grouped by the kind of fault.

    For callers that read many files, perhaps repeatedly. The first file of a kind is named; for
    10, 100, 1000, ... different files their number is logged.
    """

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}  # kind of fault -> files

    def add(self, path: str, kind: str, message: str) -> None:
        """Warns of a file, or counts it."""
        seen = self._seen.setdefault(kind, set())
        if path in seen:
            return
        seen.add(path)
        if len(seen) == 1:
            logger.warning("%s: %s. More files with this fault will be counted.", path, message)
        elif math.log10(len(seen)).is_integer():
            logger.warning("%d files have this fault: %s.", len(seen), kind)


def read_audio(
    path: AudioPath, faulty: FaultyFiles | None = None
) -> tuple[NDArray[np.float32], int]:
    """The samples of an audio file and its sample rate in Hz.

    (S,) for mono, (S, C) for more channels, float32, in [-1, 1] if the file holds integers. Every
    format of libsndfile: WAV, FLAC, Ogg, MP3 and others.

    Of a truncated or damaged file the samples before the damage are returned, with a warning that
    gives the path and the duration that was read. With `faulty`, the warnings go there. Lengths in
    headers are not relied upon: they may be left open, and samples that a killed recorder has not
    counted are read, too. A missing end of RF64 is not detected.

    Raises:
        AudioError: if there are no samples: a path that is missing, a directory, a pipe or a device
            (see `read_audio_stream`), a file that is empty or not audio, a header without samples;
            or if the sample rate is not one of `MIN_SAMPLE_RATE` to `MAX_SAMPLE_RATE`, or there are
            more than `MAX_CHANNELS` channels.
    """
    return _read(path, show_path(path), faulty)


def read_audio_stream(stream: BinaryIO, name: str) -> tuple[NDArray[np.float32], int]:
    """The samples of a pipe, read to its end, and their sample rate in Hz; see `read_audio`.

    libsndfile seeks, so the bytes are copied to a temporary file first. `name` is the name of the
    pipe in messages. Raises AudioError also for more than 2 GiB, and after the first MiB if that is
    no beginning of a recording: the pipe may have no end.
    """
    with tempfile.NamedTemporaryFile(prefix="echostream-") as file:
        left = MAX_STREAM_BYTES
        while piece := stream.read(_PIECE_BYTES):
            is_first = left == MAX_STREAM_BYTES
            left -= len(piece)
            if left < 0:
                raise AudioError(f"{name} cannot be read as audio: it holds more than 2 GiB.")
            file.write(piece)
            if is_first and len(piece) == _PIECE_BYTES:  # else it has ended already
                file.flush()
                _check_beginning(file.name, name, piece[:HEAD_BYTES])
        file.flush()
        return _read(file.name, name, None)


def _check_beginning(path: str, name: str, head: bytes) -> None:
    """Raises AudioError if the first MiB of a pipe has no format of libsndfile."""
    if head.startswith(b"ID3") or head[8:12] == b"\0\2\0\0":
        return  # an MP3 whose tag may be longer; HTK, which is known by the size of the whole file
    try:
        sf.SoundFile(path).close()
    except sf.LibsndfileError as error:
        if error.code != _UNKNOWN_FORMAT:  # a header that goes on, perhaps
            return
        raise AudioError(
            f"{name} cannot be read as audio: it must begin with the header of a recording (WAV, "
            "FLAC, Ogg, MP3 or another format of libsndfile), but does not. "
            f"{perhaps_not_audio(head)}".rstrip()
        ) from error


def show_path(path: AudioPath) -> str:
    """A path as text for messages; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def opening(path: AudioPath, name: str) -> Iterator[bytes]:
    """The path of a regular file for libsndfile, whose errors are raised as AudioError.

    Other paths are not opened: a named pipe would block, a device may have no end.
    """
    head = b""
    try:
        _check_regular(path, name)
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
        if kind := surely_not_audio(head):
            raise AudioError(f"{name} cannot be read as audio. {kind}")
        yield os.fsencode(path)
    except sf.LibsndfileError as error:
        # For an MP3 without a frame, libsndfile reports that the file does not exist.
        reason = "it holds no MP3 frame." if error.code == 7 else error.error_string
        hint = perhaps_not_audio(head)
        raise AudioError(f"{name} cannot be read as audio: {reason} {hint}".rstrip()) from error
    except TypeError as error:  # soundfile asks for the rate of a .raw file this way
        raise AudioError(
            f"{name} cannot be read as audio: samples without a header have no sample rate. "
            "Convert it, for example with `ffmpeg -f s16le -ar 16000 -ac 1 -i FILE FILE.flac`."
        ) from error
    except OSError as error:
        raise AudioError(f"{name} cannot be read as audio: {error.strerror}.") from error


def check_rate(name: str, sample_rate: int) -> None:
    """Raises AudioError for an implausible sample rate in a header."""
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{name} cannot be read as audio: its sample rate must be from {MIN_SAMPLE_RATE} to "
            f"{MAX_SAMPLE_RATE} Hz, but is {sample_rate} instead."
        )


def check_channels(name: str, num_channels: int) -> None:
    """Raises AudioError for more channels than a recording of speech has."""
    if num_channels > MAX_CHANNELS:
        raise AudioError(
            f"{name} cannot be read as audio: it must have at most {MAX_CHANNELS} channels, but "
            f"has {num_channels} instead."
        )


def clean(samples: NDArray[np.floating]) -> tuple[NDArray[np.float32], int]:
    """Mono float32 samples without unusable values: (S,) or (S, C) -> (S,), and their count.

    NaN, infinity and values beyond 1e6 are set to zero before the channels are averaged, and
    counted, so that the caller can warn once. Raises ValueError for other shapes, among them more
    than `MAX_CHANNELS` channels, and for integer samples.
    """
    usable, num_unusable = without_unusable(samples)
    return mix_down(usable), num_unusable


def without_unusable(samples: NDArray[np.floating]) -> tuple[NDArray[np.floating], int]:
    """The first half of `clean`: unusable values set to zero, (S,) or (S, C), and their count."""
    _check_floating(samples)
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] == 0):
        raise ValueError(
            f"`samples` must have shape (S,) or (S, C), but has shape {samples.shape} instead."
        )
    if samples.ndim == 2 and samples.shape[1] > MAX_CHANNELS:
        raise ValueError(
            f"`samples` must have shape (S,) or (S, C) with at most {MAX_CHANNELS} channels C, but "
            f"has shape {samples.shape} instead. Samples of shape (C, S) must be transposed."
        )
    if samples.dtype == np.float16:  # whose largest value is 65504
        samples = samples.astype(np.float32)
    usable = np.abs(samples) <= _LOUDEST  # False for NaN
    num_unusable = int(samples.size - np.count_nonzero(usable))
    return np.where(usable, samples, 0) if num_unusable else samples, num_unusable


def mix_down(samples: NDArray[np.floating]) -> NDArray[np.float32]:
    """The second half of `clean`: the mean of the channels, (S,) or (S, C) -> (S,)."""
    mono = samples.mean(axis=1) if samples.ndim == 2 else samples
    return mono.astype(np.float32)


def check_samples(samples: NDArray[np.floating]) -> None:
    """Raises ValueError unless the samples are one finite channel of floats, as from `clean`."""
    if samples.ndim != 1:
        raise ValueError(f"`samples` must have shape (S,), but has shape {samples.shape} instead.")
    _check_floating(samples)
    if not np.isfinite(samples).all():
        raise ValueError("`samples` must be finite, but holds NaN or infinity (see audio.clean).")


def _check_floating(samples: NDArray[np.floating]) -> None:
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(
            f"`samples` must be floating point in [-1, 1], but has dtype {samples.dtype} instead."
        )


def _check_regular(path: AudioPath, name: str) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise AudioError(f"{name} cannot be read as audio: there is no such file.") from error
    except ValueError as error:  # a null character
        raise AudioError(f"{name} cannot be read as audio: {error}.") from error
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    for is_kind, kind in kinds:
        if is_kind(status.st_mode):
            raise AudioError(f"{name} cannot be read as audio: it is {kind}.")
    if status.st_size == 0:
        raise AudioError(f"{name} cannot be read as audio: the file is empty.")


def _read(
    path: AudioPath, name: str, faulty: FaultyFiles | None
) -> tuple[NDArray[np.float32], int]:
    with opening(path, name) as file:
        samples, sample_rate, kind, fault, whole = decode(file)
    if len(samples) == 0:
        raise AudioError(f"{name} cannot be read as audio: {fault or 'it holds no samples'}.")
    check_rate(name, sample_rate)
    check_channels(name, samples.shape[1] if samples.ndim == 2 else 1)
    if fault:
        seconds = f"{len(samples) / sample_rate:.3f} s"
        message = fault if whole else f"only the first {seconds} can be read: {fault}"
        if faulty is None:
            logger.warning("%s: %s.", name, message)
        else:
            faulty.add(name, kind, message)
    return samples, sample_rate
