"""The recordings of a run of speech, each in the versions that are transcribed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.scoring.judge.silence import (
    AS_PLAYED,
    STREAMSPEECH,
    WITHOUT_SILENCE,
    streamspeech_rule,
    without_silence,
    writes_of,
)
from echostream.scoring.judge.transcript import JudgeError
from echostream.scoring.log import Utterance

WAVS = "wavs"


class Audio(NamedTuple):
    """Samples (S,) of 16 bits; `path` is a file that holds exactly them, or None."""

    samples: NDArray[np.int16]
    sample_rate: int
    path: Path | None = None

    def sha256(self) -> str:
        """Names the samples and their rate, in hexadecimal."""
        rate = f"{self.sample_rate} ".encode()
        return hashlib.sha256(rate + self.samples.astype("<i2").tobytes()).hexdigest()


def find_recording(folder: Path, utterance: Utterance) -> Path:
    """The recording of an utterance: in `wavs` beside the log, or where the log has it.

    The first comes first: a run that was copied is complete, and another may now be where it was.
    Raises JudgeError if it is in neither place.
    """
    logged = utterance.prediction
    beside = folder / WAVS / PurePosixPath(logged.replace("\\", "/")).name
    for path in (beside, Path(logged)):
        if path.is_file():
            return path
    places = str(beside) if beside == Path(logged) else f"{beside} or {logged}"
    raise JudgeError(
        f"the recording of utterance {utterance.index} must be {places}, but there is none."
    )


def read_recording(path: Path) -> Audio:
    """A mono recording as SimulEval writes it. Raises JudgeError if it cannot be read as one."""
    try:
        samples, sample_rate = soundfile.read(path, dtype="int16")
    except (OSError, soundfile.SoundFileError) as error:
        raise JudgeError(f"{path}: cannot be read as a recording: {error}") from error
    if samples.ndim != 1:
        raise JudgeError(f"{path}: must have one channel, but has {samples.shape[1]}.")
    return Audio(samples, sample_rate, path)


def versions_of(folder: Path, utterance: Utterance) -> Iterator[tuple[str, Audio]]:
    """The versions of an utterance that is not empty, by their names.

    Raises JudgeError if the recording is missing or is not the one of the log.
    """
    played = read_recording(find_recording(folder, utterance))
    rate = played.sample_rate
    try:
        spoken = without_silence(played.samples, writes_of(utterance, rate))
    except ValueError as error:
        raise JudgeError(f"{played.path}: is not what the log describes: {error}.") from error
    yield WITHOUT_SILENCE, Audio(spoken, rate)
    yield AS_PLAYED, played
    yield STREAMSPEECH, Audio(streamspeech_rule(played.samples), rate)
