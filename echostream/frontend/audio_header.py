"""Checks from headers and last samples whether SimulEval can read recordings as a whole.

SimulEval reads with `soundfile.read`, which relies on the header. Decoding every file of a large
test set twice would take minutes; reading a header takes 0.1 ms.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import soundfile as sf

from echostream.frontend.audio import (
    AudioError,
    AudioPath,
    check_channels,
    check_rate,
    opening,
    show_path,
)
from echostream.frontend.audio_file import (
    UNKNOWN_LENGTH,
    decode,
    most_samples,
    short_data,
)
from echostream.frontend.chunks import FORMATS, find_uncounted
from echostream.frontend.mpeg import find_mpeg

logger = logging.getLogger(__name__)

_NUM_THREADS = 8  # for I/O, possibly on a network file system
_AT_A_TIME = 128
_REPORT_SECONDS = 5.0
_RECODE = "write it again, for example with `ffmpeg -i FILE FILE.flac`"
_GUESS_MS = 100  # tolerated error of the estimated length of an MP3 file


class Header(NamedTuple):
    """The header of a recording."""

    num_samples: int  # in each channel
    sample_rate: int  # Hz
    fault: str  # the reason why there are fewer samples; "" if there are not


def read_header(path: AudioPath) -> Header:
    """The header of a recording that SimulEval can read; it may declare no samples.

    Raises AudioError for files that `read_audio` refuses, and for those that SimulEval could not
    read, or only in part: formats in which libsndfile cannot seek, open or impossible lengths, a
    last sample that is missing or not counted. Damage in the middle of a file is not detected.
    """
    name = show_path(path)
    with opening(path, name) as checked, sf.SoundFile(checked) as file:
        check_rate(name, file.samplerate)
        check_channels(name, file.channels)
        if reason := _why_not_whole(checked, file):
            raise AudioError(f"{name} cannot be read by SimulEval: {reason}.")
        return Header(file.frames, file.samplerate, short_data(file.extra_info))


def read_headers(paths: Sequence[AudioPath]) -> list[Header | AudioError]:
    """For each path its header, or the error; logs the progress."""
    found: list[Header | AudioError] = []
    portions = [paths[at : at + _AT_A_TIME] for at in range(0, len(paths), _AT_A_TIME)]
    reported = time.monotonic()
    with ThreadPoolExecutor(_NUM_THREADS) as threads:
        for portion in threads.map(_read_portion, portions):
            found += portion
            if time.monotonic() - reported > _REPORT_SECONDS:
                reported = time.monotonic()
                logger.info("%d of %d recordings have been checked.", len(found), len(paths))
    return found


def _read_portion(paths: Sequence[AudioPath]) -> list[Header | AudioError]:
    found: list[Header | AudioError] = []
    for path in paths:
        try:
            found.append(read_header(path))
        except AudioError as error:
            found.append(error)
    return found


def _why_not_whole(path: bytes, file: sf.SoundFile) -> str:
    if not file.seekable():
        return f"libsndfile cannot seek in {file.subtype_info}; {_RECODE}"
    if file.frames >= UNKNOWN_LENGTH:
        return f"its header leaves the number of samples open; {_RECODE}"
    if file.format == "MP3":
        return _why_not_whole_mp3(path, file)
    if file.frames > most_samples(path, file.channels):
        return f"its header declares {file.frames} samples, more than the file can hold"
    if file.format in FORMATS:
        uncounted = find_uncounted(path, file.format, file.samplerate * file.channels)
        return f"{uncounted.fault.partition(':')[0]}; {_RECODE}" if uncounted else ""
    if file.frames == 0:
        return ""
    with contextlib.suppress(sf.LibsndfileError):
        file.seek(file.frames - 1)
        if len(file.read(1, dtype="float32")) == 1:
            return ""
    return f"it ends before the last of {file.frames} samples: it is cut off or damaged"


def _why_not_whole_mp3(path: bytes, file: sf.SoundFile) -> str:
    """Without a Xing or Info header the length is estimated, so that the end may be missing."""
    mpeg = find_mpeg(path)
    if file.frames > most_samples(path, file.channels):
        return f"its header declares {file.frames} samples, more than the file can hold"
    if mpeg is None or mpeg.counted:
        return ""
    missing = len(decode(path).samples) - file.frames
    if missing <= file.samplerate * _GUESS_MS / 1000:
        return ""
    return (
        f"it has no header, and its last {missing / file.samplerate:.1f} s would be lost; {_RECODE}"
    )
