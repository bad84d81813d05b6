"""Sentences as an ASR head might hear them, made without audio."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echostream.config import BLANK_ID
from echostream.streaming.clock import GROUP_OUTPUTS
from echostream.text.tokenizer import Tokenizer
from echostream.training.align import WordAligner, emission_times, place_pieces, split_text
from echostream.training.example import NO_LABEL, OUTPUT_RATE

CERTAINTY = 12.0  # logit of a piece that is heard
MISHEARD = 0.03  # share of pieces replaced by another, so that the layers do not trust blindly
NO_LIMIT = 10**6  # frames

Spikes = list[tuple[int, int]]  # (frame, piece)


class Imagined(NamedTuple):
    """A batch of imagined sentences."""

    asr_logits: Tensor  # (B, T, V source)
    lengths: Tensor  # (B,)
    target: Tensor  # (sum of lengths,)
    target_lengths: Tensor  # (B,)
    target_labels: Tensor  # (B, T) piece due at each frame, blank elsewhere, -1 after the end


class _Sentence(NamedTuple):
    heard: Spikes
    due: Spikes
    target: list[int]
    length: int


class ImaginedSpeech:
    """Gives the words of a sentence 0.12 to 0.5 s each (at an even pace) and an end in silence.

    A source piece is heard in the frame after its word has ended, a target piece is due when its
    source word, and all before it, are out.
    """

    def __init__(
        self,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        aligner: WordAligner,
        tail_ms: int,
        source_unit: str = "word",
        target_unit: str = "word",
    ) -> None:
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.aligner = aligner
        self.tail_ms = tail_ms
        self.source_unit = source_unit
        self.target_unit = target_unit

    def __call__(self, pairs: Sequence[tuple[str, str]], rng: random.Random) -> Imagined:
        """A batch of `(source, target)` sentences."""
        sentences = [self._imagine(source, target, rng) for source, target in pairs]
        longest = max(sentence.length for sentence in sentences)
        size = -(-longest // GROUP_OUTPUTS) * GROUP_OUTPUTS
        pieces = torch.full((len(sentences), size), BLANK_ID)
        labels = torch.full((len(sentences), size), BLANK_ID)
        for row, sentence in enumerate(sentences):
            for frame, piece in sentence.heard:
                pieces[row, frame] = piece
            for frame, piece in sentence.due:
                labels[row, frame] = piece
            labels[row, sentence.length :] = NO_LABEL
        return Imagined(
            CERTAINTY * functional.one_hot(pieces, self.source_tokenizer.vocab_size).float(),
            torch.tensor([sentence.length for sentence in sentences]),
            torch.tensor([p for sentence in sentences for p in sentence.target], dtype=torch.long),
            torch.tensor([len(sentence.target) for sentence in sentences]),
            labels,
        )

    def _imagine(self, source: str, target: str, rng: random.Random) -> _Sentence:
        words, word_pieces = split_text(source, self.source_tokenizer, self.source_unit)
        target_words, target_pieces = split_text(target, self.target_tokenizer, self.target_unit)
        pace = rng.uniform(0.7, 1.3)
        ends, now = [], rng.uniform(0.05, 0.3)
        for word in words:
            now += pace * min(0.5, max(0.12, 0.06 * len(word) * rng.uniform(0.8, 1.2)))
            ends.append(now)
        length = int((now + rng.uniform(0.1, 0.4) + self.tail_ms / 1000) * OUTPUT_RATE)
        times = emission_times(self.aligner.align(words, target_words), ends)
        heard = _spikes(word_pieces, ends)
        due = _spikes(target_pieces, times)
        # A text may have no pieces at all: one of signs that the normalisation leaves out.
        length = max([length, *(frame + 1 for frame, _ in (*heard[-1:], *due[-1:]))])
        heard = [(frame, self._mishear(piece, rng)) for frame, piece in heard]
        return _Sentence(heard, due, [piece for _, piece in due], length)

    def _mishear(self, piece: int, rng: random.Random) -> int:
        if rng.random() < MISHEARD:
            return rng.randrange(1, self.source_tokenizer.vocab_size)
        return piece


def _spikes(pieces: Sequence[list[int]], times: Sequence[float]) -> Spikes:
    frames = place_pieces(times, [len(p) for p in pieces], NO_LIMIT, OUTPUT_RATE)
    assert frames is not None, times
    return list(zip(frames, [piece for word in pieces for piece in word], strict=True))
