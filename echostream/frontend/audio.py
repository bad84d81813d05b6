"""Audio files and raw samples: what can be read, and what is made of what cannot."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

# Small, because an error inside a block loses the samples of that block.
_BLOCK_FRAMES = 4096
# Sizes that a writer to a pipe leaves in a WAV header because it cannot go back.
_UNKNOWN_SIZES = (0xFFFF_FFFF, 0x7FFF_FFFF)
# Far above any recording, far below what overflows float32 when fbank takes the power.
_LOUDEST = 1e6


class AudioError(ValueError):
    """A file from which no audio can be read; the message names the path and the reason."""


def read_audio(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """The samples of an audio file and its sample rate in Hz.

    (S,) for mono, (S, C) for more channels, float32, in [-1, 1] if the file holds integers. Every
    format of libsndfile: WAV, FLAC, Ogg, MP3 and others.

    A file that is cut off or damaged gives the samples before the damage, and a warning in the
    log with the path and how much was read: what can be translated is. AudioError is raised if
    there are none: a path that is missing or a directory, a file that is empty or not audio, a
    header without samples. An Ogg file that is cut off counts as not audio, for libsndfile needs
    its end; of RF64 a missing end is not noticed.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise AudioError(f"{path} cannot be read as audio: it is a directory.")
        if not path.exists():
            raise AudioError(f"{path} cannot be read as audio: there is no such file.")
        if path.stat().st_size == 0:
            raise AudioError(f"{path} cannot be read as audio: the file is empty.")
        samples, sample_rate, fault = _read(path)
    except sf.LibsndfileError as error:
        # libsndfile says of an MP3 without a frame that the file does not exist.
        reason = "it holds no MP3 frame." if error.code == 7 else error.error_string
        raise AudioError(f"{path} cannot be read as audio: {reason}") from error
    except TypeError as error:  # soundfile asks for the rate of a .raw file this way
        raise AudioError(f"{path} cannot be read as audio: {error}.") from error
    except OSError as error:
        raise AudioError(f"{path} cannot be read as audio: {error.strerror}.") from error
    if len(samples) == 0:
        raise AudioError(f"{path} cannot be read as audio: {fault or 'it holds no samples'}.")
    if fault:
        seconds = len(samples) / sample_rate
        logger.warning("%s: only the first %.3f s can be read: %s.", path, seconds, fault)
    return samples, sample_rate


def clean(samples: NDArray[np.floating]) -> tuple[NDArray[np.float32], int]:
    """Mono float32 samples without unusable values: (S,) or (S, C) -> (S,), and their count.

    NaN, infinity, and values beyond 1e6 become zero before the channels are averaged. The count
    is of such values, so that the caller can warn once. Raises ValueError for other shapes and
    for integer samples.
    """
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] == 0):
        raise ValueError(
            f"`samples` must have shape (S,) or (S, C), but has shape {samples.shape} instead."
        )
    _check_floating(samples)
    usable = np.abs(samples) <= _LOUDEST  # False for NaN
    num_unusable = int(samples.size - np.count_nonzero(usable))
    if num_unusable:
        samples = np.where(usable, samples, 0)
    if samples.ndim == 2:
        samples = samples.mean(axis=1)  # (S, C) -> (S,)
    return samples.astype(np.float32), num_unusable


def check_samples(samples: NDArray[np.floating]) -> None:
    """Raises ValueError unless the samples are one finite channel of floats: what `clean` gives."""
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


def _read(path: Path) -> tuple[NDArray[np.float32], int, str]:
    """All readable samples, the sample rate, and what is wrong with the rest ("" if nothing)."""
    with sf.SoundFile(path) as file:
        declared, sample_rate, log = file.frames, file.samplerate, file.extra_info
        try:
            # At once where possible: soundfile seeks after every read, which MP3 does not survive.
            samples = file.read(dtype="float32")
        except sf.LibsndfileError:
            return _read_until_fault(path), sample_rate, "the rest is cut off or damaged"
    if len(samples) < declared:
        return samples, sample_rate, f"{declared} samples are declared but {len(samples)} follow"
    return samples, sample_rate, _short_data(log)


def _read_until_fault(path: Path) -> NDArray[np.float32]:
    blocks = []
    with sf.SoundFile(path) as file, contextlib.suppress(sf.LibsndfileError):
        while len(block := file.read(_BLOCK_FRAMES, dtype="float32")):
            blocks.append(block)
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def _short_data(log: str) -> str:
    """libsndfile silently shortens a file that ends too early, and tells only its parse log."""
    # The chunk of samples in WAV and AIFF, its size in AU, the whole file in W64.
    pattern = r"^ *(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)"
    match = re.search(pattern, log, re.MULTILINE)
    if match is None or int(match[1]) in _UNKNOWN_SIZES or int(match[1]) <= int(match[2]):
        return ""
    return f"the header declares {match[1]} bytes of audio but {match[2]} follow"
