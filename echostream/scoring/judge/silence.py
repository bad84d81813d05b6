"""The recording of an utterance with and without the silence that SimulEval has put into it.

SimulEval plays each write of speech as soon as it is there and the one before has ended, and fills
the time between them with zeros. A recogniser may stumble over such a pause in a word.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echostream.scoring.log import Utterance

AS_PLAYED = "as played"
WITHOUT_SILENCE = "without inserted silence"
STREAMSPEECH = "StreamSpeech's silence rule"
VERSIONS = (WITHOUT_SILENCE, AS_PLAYED, STREAMSPEECH)

_RUN = 10  # zeros, of StreamSpeech's rule


class Write(NamedTuple):
    """One write of speech: when it is played, and where it is in the recording."""

    start_ms: float  # from the beginning of the source
    duration_ms: float
    begin: int  # its first sample
    end: int


def writes_of(utterance: Utterance, sample_rate: int) -> list[Write]:
    """The writes of an utterance; `start_ms` and `duration_ms` are SimulEval's `intervals`."""
    writes: list[Write] = []
    for delay, duration in zip(utterance.delays, utterance.durations or (), strict=True):
        before = writes[-1].start_ms + writes[-1].duration_ms if writes else delay
        start = max(before, delay)
        # SimulEval rounds each silence down to whole samples.
        begin = int(sample_rate * (start - before) / 1000) + (writes[-1].end if writes else 0)
        num_samples = round(duration * sample_rate / 1000)
        writes.append(Write(start, duration, begin, begin + num_samples))
    return writes


def without_silence(samples: NDArray[np.int16], writes: list[Write]) -> NDArray[np.int16]:
    """The samples of the writes alone; all samples if no silence has been put in.

    Raises ValueError if the recording has neither length: it is not that of these writes.
    """
    num_spoken = sum(write.end - write.begin for write in writes)
    if len(samples) == num_spoken:
        return samples
    if not writes or len(samples) != writes[-1].end:
        expected = writes[-1].end if writes else 0
        raise ValueError(
            f"its {len(samples)} samples are not the {expected} of its writes in the log"
        )
    return np.concatenate([samples[write.begin : write.end] for write in writes])


def streamspeech_rule(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """What StreamSpeech's ASR-BLEU passes to its recogniser, to the bit.

    It takes out each zero with which ten zeros begin or end. So a run of 18 zeros or more goes as a
    whole, of ten zeros only the first and the last, and of eleven to 17 some in the middle stay.
    The end of the recording counts as the neighbour of its beginning. Zeros within speech go, too.
    """
    zero = samples == 0
    begins, ends = zero.copy(), zero.copy()
    for shift in range(_RUN):
        begins &= np.roll(zero, -shift)
        ends &= np.roll(zero, shift)
    kept: NDArray[np.int16] = samples[~(begins | ends)]
    return kept


def playing_time(writes: list[Write], spoken_ms: float) -> float:
    """When the listener gets to a time in `without_silence`, in ms from the source's beginning."""
    before = 0.0
    for write in writes:
        if spoken_ms <= before + write.duration_ms:
            return write.start_ms + max(0.0, spoken_ms - before)
        before += write.duration_ms
    return writes[-1].start_ms + writes[-1].duration_ms
