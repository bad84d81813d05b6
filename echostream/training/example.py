"""Training examples: features, token ids and frame labels of an utterance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echostream.data.lengths import is_long_enough
from echostream.data.utterance import Utterance
from echostream.frontend.cmvn import GlobalCmvn
from echostream.frontend.fbank import fbank
from echostream.streaming.clock import HOP_LENGTH, OUTPUT_STRIDE, SAMPLE_RATE
from echostream.text.tokenizer import Tokenizer
from echostream.training.align import (
    WordAligner,
    align_pieces_to_frames,
    emission_times,
    split_text,
)

OUTPUT_RATE = SAMPLE_RATE / HOP_LENGTH / OUTPUT_STRIDE  # 25 Hz
NO_LABEL = -1


class Example(NamedTuple):
    """One utterance, ready for batching; T frames, T' = T // 4 frames of the encoder.

    `source` and `target` are the ids of the texts, None where a text is unknown.
    """

    frames: NDArray[np.float16]  # (T, F), normalised
    source: list[int] | None
    target: list[int] | None
    source_labels: NDArray[np.int64] | None  # (T',) piece of each frame, else blank
    target_labels: NDArray[np.int64] | None


class ExampleMaker:
    """Makes examples of utterances, with `tail_ms` of silence after the speech as in a session.

    `source_unit` and `target_unit` are the emission units, by which the texts are aligned.
    """

    def __init__(
        self,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        cmvn: GlobalCmvn,
        aligner: WordAligner | None,
        tail_ms: int,
        source_unit: str = "word",
        target_unit: str = "word",
    ) -> None:
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.cmvn = cmvn
        self.aligner = aligner
        self.source_unit = source_unit
        self.target_unit = target_unit
        self.tail = np.zeros(tail_ms * SAMPLE_RATE // 1000, dtype=np.float32)

    def __call__(self, utterance: Utterance) -> Example | None:
        """The example, or None if the audio is too short for its own text."""
        frames = self.cmvn.apply(fbank(np.concatenate([utterance.samples, self.tail])))
        num_outputs = len(frames) // OUTPUT_STRIDE
        source_words, source_pieces = split_text(
            utterance.source or "", self.source_tokenizer, self.source_unit
        )
        target_words, target_pieces = split_text(
            utterance.target or "", self.target_tokenizer, self.target_unit
        )
        source = [piece for pieces in source_pieces for piece in pieces]
        target = [piece for pieces in target_pieces for piece in pieces]
        if not is_long_enough(len(frames), max(len(source), len(target))):
            return None
        source_labels = target_labels = None
        ends = utterance.word_ends
        has_times = utterance.source is not None and len(ends) == len(source_pieces)
        if self.aligner is not None and has_times:
            source_labels = _labels(list(ends), source_pieces, num_outputs)
            if utterance.target is not None:
                alignment = self.aligner.align(source_words, target_words)
                target_labels = _labels(emission_times(alignment, ends), target_pieces, num_outputs)
        return Example(
            frames.astype(np.float16),
            None if utterance.source is None else source,
            None if utterance.target is None else target,
            source_labels,
            target_labels,
        )


def _labels(
    times: list[float], pieces: list[list[int]], num_frames: int
) -> NDArray[np.int64] | None:
    frames = align_pieces_to_frames(times, [len(p) for p in pieces], num_frames, OUTPUT_RATE)
    if frames is None:
        return None
    labels = np.zeros(num_frames, dtype=np.int64)
    labels[frames] = [piece for word in pieces for piece in word]
    return labels
