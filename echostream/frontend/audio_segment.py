"""Reads parts of recordings, without decoding what comes before them where that is possible."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from echostream.frontend.audio import (
    AudioError,
    AudioPath,
    FaultyFiles,
    check_channels,
    check_rate,
    opening,
    read_audio,
    show_path,
)

# Annotations are rounded, and a codec may leave out a frame at the end; more is a fault.
TOLERANCE = 0.1  # s
_MOST_KEPT = 1 << 28  # bytes of a recording that is kept decoded: 70 minutes at 16 kHz


class Segment(NamedTuple):
    """A part of a recording: in seconds, or in samples at the rate of the file.

    Without a `duration` it goes to the end.
    """

    offset: float
    duration: float | None
    in_samples: bool = False

    def samples(self, sample_rate: int) -> tuple[int, int | None]:
        """The first sample and the number of samples, at a rate in Hz."""
        rate = 1 if self.in_samples else sample_rate
        start = round(self.offset * rate)
        if self.duration is None:
            return start, None
        return start, round((self.offset + self.duration) * rate) - start

    def within(self, seconds: float, sample_rate: int) -> tuple[float, float] | None:
        """Where the segment begins and ends in a recording of so many seconds, in s.

        None if it begins after the end, or ends later than `TOLERANCE` after it.
        """
        start, length = self.samples(sample_rate)
        begin = start / sample_rate
        end = seconds if length is None else begin + length / sample_rate
        if min(end, seconds) <= begin or end > seconds + TOLERANCE:
            return None
        return begin, min(end, seconds)

    def __str__(self) -> str:
        unit = "samples" if self.in_samples else "s"
        end = "the end" if self.duration is None else f"{self.offset + self.duration:g}"
        return f"{self.offset:g} to {end} {unit}"


class SegmentReader:
    """Reads segments of files; for callers that read many segments of one file.

    WAV, FLAC, Ogg and most other formats are read from the first sample on. Of an MP3, and of a
    file with fewer samples by its header than the segment needs, the whole is decoded, and kept
    until another such file is read.
    """

    def __init__(self, faulty: FaultyFiles | None = None) -> None:
        self._faulty = faulty
        self._kept: tuple[str, NDArray[np.float32], int] | None = None

    def read(self, path: AudioPath, segment: Segment) -> tuple[NDArray[np.float32], int]:
        """The samples of a segment, (S,) or (S, C), and their rate in Hz, as from `read_audio`.

        A segment that ends after its recording is read as far as that goes, with a warning.

        Raises AudioError as `read_audio`, and for a segment that begins after the end.
        """
        name = show_path(path)
        found = self._seek(path, name, segment)
        if found is None:
            whole, sample_rate = self._whole(path, name)
            start, length = segment.samples(sample_rate)
            end = len(whole) if length is None else start + length
            found = whole[start:end].copy(), sample_rate
        samples, sample_rate = found
        if not len(samples):
            raise AudioError(
                f"{name} cannot be read as audio from {segment}: the recording ends before."
            )
        wanted = segment.samples(sample_rate)[1]
        if wanted is not None and wanted - len(samples) > TOLERANCE * sample_rate:
            self._warn(name, segment, len(samples) / sample_rate)
        return samples, sample_rate

    def _seek(
        self, path: AudioPath, name: str, segment: Segment
    ) -> tuple[NDArray[np.float32], int] | None:
        """The segment read from its first sample on; None where that cannot be relied upon."""
        with opening(path, name) as file, sf.SoundFile(file) as audio:
            check_rate(name, audio.samplerate)
            check_channels(name, audio.channels)
            start, length = segment.samples(audio.samplerate)
            # After a seek in an MP3, libsndfile lacks what the frames before hold of the first one.
            if audio.format == "MP3" or length is None or start + length > audio.frames:
                return None
            audio.seek(start)
            samples: NDArray[np.float32] = audio.read(length, dtype="float32")
            return (samples, audio.samplerate) if len(samples) == length else None

    def _whole(self, path: AudioPath, name: str) -> tuple[NDArray[np.float32], int]:
        if self._kept is None or self._kept[0] != name:
            self._kept = None  # before the next one takes memory
            samples, sample_rate = read_audio(path, self._faulty)
            if samples.nbytes > _MOST_KEPT:
                return samples, sample_rate
            self._kept = name, samples, sample_rate
        return self._kept[1:]

    def _warn(self, name: str, segment: Segment, seconds: float) -> None:
        faulty = self._faulty or FaultyFiles()
        faulty.add(
            name,
            "segments beyond the end of their recording",
            f"the segment {segment} has only {seconds:.3f} s",
        )
