"""A corpus of sentence pairs: each is spoken by one of many voices and written as FLAC."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from echostream.config import to_dict
from echostream.data.sentences.split import SentencePair
from echostream.data.sentences.tables import read_sentences
from echostream.data.synthetic.augment import (
    SENTENCE_VARIATION,
    TEST_VARIATION,
    Rendering,
    draw_rendering,
    render,
)
from echostream.data.synthetic.corpus import write_splits
from echostream.data.synthetic.corpus_report import CorpusReport
from echostream.data.synthetic.corpus_split import WORD_ENDS, CorpusSpeech
from echostream.data.synthetic.grammar import Pair
from echostream.data.synthetic.speech import Split
from echostream.data.synthetic.voice_list import VoiceList, shares_of
from echostream.data.table_row import COLUMNS
from echostream.data.utterance import Utterance
from echostream.frontend.resample import resample
from echostream.streaming.clock import SAMPLE_RATE
from echostream.text.normalization import TextNormalization
from echostream.voices.espeak import Espeak
from echostream.voices.make import make_voice
from echostream.voices.voice import Speech, Voice

_TABLES: dict[Split, str] = {
    "train": "train", "dev": "dev", "test-seen": "test", "test-unseen": "test",
}  # fmt: skip
# At which a voice other than espeak-ng's speaks with speed 1. Of training it then has 0.72 to 1.08:
# Kokoro's French seems to be better understood when it is slow (eval/LOG.md).
_RATE_WPM = 195
_REPORTED = 20_000  # training sentences against which the report counts unseen n-grams


class SentenceSpeech:
    """Utterances of sentence pairs; item i depends on (`seed`, `split`, i) and nothing else.

    The pairs come in random order, each once in an epoch; epochs differ in their order, and each
    utterance in its voice and rendering. What is spoken has the case and punctuation of the
    pair; the texts of the utterance are normalised by `text`.
    """

    columns = (*COLUMNS, "speaker", WORD_ENDS)

    def __init__(
        self,
        pairs: Sequence[SentencePair],
        voices: Sequence[str],
        seed: int,
        split: Split,
        text: TextNormalization,
    ) -> None:
        self.pairs = tuple(pairs)
        self.split: Split = split
        self.seed = seed
        self.text = text
        self._shares = shares_of(voices)
        self._variation = SENTENCE_VARIATION if split == "train" else TEST_VARIATION
        self._orders: dict[int, list[int]] = {}

    def name(self, index: int) -> str:
        """The id of item `index`."""
        return f"{self.split}-{self.seed}-{index:07d}"

    def pair(self, index: int) -> Pair:
        """The texts of item `index`, normalised."""
        pair = self._pair(index)
        return Pair(self.text(pair.source), self.text(pair.target))

    def voice(self, index: int) -> str:
        """The voice of item `index`."""
        return self._draw(index)[0]

    def utterance(self, index: int) -> Utterance:
        """Item `index`, synthesised.

        Raises VoiceError or EspeakError for a voice that cannot be used.
        """
        voice, rendering = self._draw(index)
        speech = _speak(self._pair(index).source, voice, rendering)
        samples = resample(speech.samples, speech.sample_rate * rendering.speed)
        samples, shift = render(samples, rendering, SAMPLE_RATE)
        word_ends = tuple(end / rendering.speed + shift for end in speech.word_ends)
        return Utterance(self.name(index), samples, *self.pair(index), voice, word_ends)

    def _pair(self, index: int) -> SentencePair:
        number, place = divmod(index, len(self.pairs))
        if number not in self._orders:
            order = list(range(len(self.pairs)))
            random.Random(f"{self.seed} {_TABLES[self.split]} pass {number}").shuffle(order)
            self._orders[number] = order
        return self.pairs[self._orders[number][place]]

    def _draw(self, index: int) -> tuple[str, Rendering]:
        rng = random.Random(f"{self.seed} {self.split} {index}")
        share = rng.random()
        voice = next((name for name, up_to in self._shares if share < up_to), self._shares[-1][0])
        return voice, draw_rendering(self._variation, rng)


@cache
def _voice(name: str) -> Voice:
    return make_voice(name, word_times=True)


def _speak(text: str, voice: str, rendering: Rendering) -> Speech:
    """Speech of espeak-ng with the rate and the pitch of a rendering, of others with the rate."""
    kind, _, value = voice.partition(":")
    if kind == "espeak":
        return Espeak().speak(text, value, rendering.rate_wpm, rendering.pitch)
    return _voice(voice).speak(text, rendering.rate_wpm / _RATE_WPM)


@dataclass(frozen=True)
class SentenceCorpus:
    """What a corpus of sentences depends on, besides its counts.

    sentences: folder with `train.tsv`, `dev.tsv` and `test.tsv`.
    """

    sentences: Path
    voices: VoiceList = field(default_factory=VoiceList)
    text: TextNormalization = field(default_factory=TextNormalization)
    seed: int = 1


def write_sentence_corpus(
    out_dir: Path, counts: Mapping[Split, int], corpus: SentenceCorpus, jobs: int = 1
) -> CorpusReport:
    """Writes speech of the sentences of a folder, as `corpus.write_corpus` does of a grammar.

    The tables also have `speaker` and, where a voice gives them, `word_ends`; `text.yaml` has
    the normalisation of their texts. Both test splits have the sentences of `test.tsv`, in the same
    order. If more training utterances are wanted than there are sentences, these come again.

    Raises what `write_corpus` raises, and TableError or OSError naming a table.
    """

    @cache
    def pairs_of(table: str) -> list[SentencePair]:
        return read_sentences(corpus.sentences / f"{table}.tsv")

    def speech_of(split: Split) -> CorpusSpeech:
        voices = corpus.voices.unseen if split == "test-unseen" else corpus.voices.train
        pairs = pairs_of(_TABLES[split])
        return SentenceSpeech(pairs, voices, corpus.seed, split, corpus.text)

    def settings_of() -> dict[str, object]:
        for voices in (corpus.voices.train, corpus.voices.unseen):
            for name, _ in shares_of(voices):
                _voice(name)  # raises for one that cannot be used
        tables = sorted({_TABLES[split] for split in counts})
        return {
            "seed": corpus.seed,
            "voices": to_dict(corpus.voices),
            "text": to_dict(corpus.text),
            **{f"sentences of {table}": _digest(pairs_of(table)) for table in tables},
        }

    def train_texts() -> list[Pair]:
        train = speech_of("train")
        return [train.pair(index) for index in range(min(_REPORTED, len(pairs_of("train"))))]

    report = write_splits(out_dir, counts, speech_of, settings_of, train_texts, jobs)
    corpus.text.save(out_dir)
    return report


def _digest(pairs: Sequence[SentencePair]) -> str:
    text = "".join("\t".join(pair) + "\n" for pair in pairs)
    return hashlib.sha256(text.encode()).hexdigest()
