"""Endless synthetic speech: sentences of a grammar, synthesised by espeak-ng in many voices."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Literal, get_args

from echostream.data.synthetic.augment import (
    TEST_VARIATION,
    TRAIN_VARIATION,
    Rendering,
    draw_rendering,
    render,
)
from echostream.data.synthetic.grammar import Grammar, Pair
from echostream.data.synthetic.grammar_rules import GrammarError
from echostream.data.table_row import COLUMNS
from echostream.data.utterance import Utterance
from echostream.frontend.resample import resample
from echostream.streaming.clock import SAMPLE_RATE
from echostream.voices.espeak import Espeak

Split = Literal["train", "dev", "test-seen", "test-unseen"]
SPLITS: tuple[Split, ...] = get_args(Split)

# Variants of espeak-ng that sound natural; the others whisper, croak, clip, or equal one of these.
# Spectrum and pitch of the unseen ones lie between those of the others; two are male, two female.
TRAIN_VOICES = tuple(
    f"fr-fr+{variant}"
    for variant in (
        *("m1", "m3", "m4", "m6", "m7", "m8", "Michael", "adam", "robert", "klatt2"),
        *("f1", "f2", "f4", "f5", "Annie", "linda", "Andrea"),
    )
)
UNSEEN_VOICES = tuple(f"fr-fr+{variant}" for variant in ("m5", "Mario", "f3", "belinda"))

_TEST_PERCENT, _DEV_PERCENT = 4, 2
_MAX_TRIES = 3000  # all miss a split of 2 % with a probability of 10^-26


def sentence_split(source: str) -> Literal["train", "dev", "test"]:
    """The split of a French sentence, by a hash of its text: 4 % test, 2 % dev, the rest train."""
    digest = hashlib.blake2b(source.encode("utf-8"), digest_size=8).digest()
    percent = int.from_bytes(digest, "big") % 100
    if percent < _TEST_PERCENT:
        return "test"
    return "dev" if percent < _TEST_PERCENT + _DEV_PERCENT else "train"


class SyntheticSpeech:
    """An endless sequence of utterances; item i depends on (`seed`, `split`, i) and nothing else.

    `voices`: espeak-ng voices, all equally probable. `split`: "train" varies the speech widely
    (`augment.TRAIN_VARIATION`), "dev", "test-seen" and "test-unseen" a little. Train, dev and test
    have no sentence in common (`sentence_split`). The caller chooses the voices of a split:
    `TRAIN_VOICES` or `UNSEEN_VOICES`.
    """

    def __init__(
        self,
        grammar: Grammar,
        voices: Sequence[str] = TRAIN_VOICES,
        seed: int = 0,
        split: Split = "train",
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"`split` must be one of {SPLITS}, but is {split!r} instead.")
        if not voices:
            raise ValueError("`voices` must name one voice or more, but is empty.")
        self.grammar = grammar
        self.voices = tuple(voices)
        self.seed = seed
        self.split = split
        self._variation = TRAIN_VARIATION if split == "train" else TEST_VARIATION

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table of it."""
        return COLUMNS

    def name(self, index: int) -> str:
        """The id of item `index`."""
        return f"{self.split}-{self.seed}-{index:07d}"

    def pair(self, index: int) -> Pair:
        """The texts of item `index`, without synthesis."""
        return self._draw(index)[0]

    def voice(self, index: int) -> str:
        """The voice of item `index`."""
        return self._draw(index)[1]

    def utterance(self, index: int) -> Utterance:
        """Item `index`, synthesised.

        Raises `EspeakError` without espeak-ng, and `GrammarError` if the split has no sentence.
        """
        pair, voice, rendering = self._draw(index)
        speech = Espeak().speak(pair.source, voice, rendering.rate_wpm, rendering.pitch)
        samples = resample(speech.samples, speech.sample_rate * rendering.speed)
        samples, shift = render(samples, rendering, SAMPLE_RATE)
        word_ends = tuple(end / rendering.speed + shift for end in speech.word_ends)
        return Utterance(self.name(index), samples, pair.source, pair.target, voice, word_ends)

    def _draw(self, index: int) -> tuple[Pair, str, Rendering]:
        if index < 0:
            raise ValueError(f"`index` must be 0 or more, but is {index} instead.")
        rng = random.Random(f"{self.seed} {self.split} {index}")
        wanted = "test" if self.split.startswith("test") else self.split
        pair = self.grammar.sample(rng)
        tries = 1
        while sentence_split(pair.source) != wanted:
            if tries == _MAX_TRIES:
                raise GrammarError(
                    f"none of {tries} sentences drawn from the grammar belongs to the split "
                    f"{self.split}: it has too few different ones."
                )
            pair = self.grammar.sample(rng)
            tries += 1
        voice = self.voices[int(rng.random() * len(self.voices))]
        return pair, voice, draw_rendering(self._variation, rng)
