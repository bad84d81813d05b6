"""What every reader of a corpus yields: utterances, and what it had to leave out.

The readers are plain code, not lhotse's recipes: of the layouts here lhotse 1.33 has no recipe for
CVSS-C, CoVoST 2, Europarl-ST and Mboshi; its recipe of MuST-C keeps the translation only, those of
mTEDx and FLEURS the transcript only; and that of LibriSpeech ends at the first damaged file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from echostream.frontend.audio_segment import Segment

SPLITS = ("train", "dev", "test")


class CorpusError(ValueError):
    """A corpus that is not laid out as it should be; the message names the file or folder."""


class Entry(NamedTuple):
    """An utterance of a corpus as it was downloaded; `split` is train, dev, test or another."""

    split: str
    id: str
    audio: Path
    source: str | None
    target: str | None
    segment: Segment | None = None
    speaker: str = ""
    language: str = ""
    target_audio: Path | None = None
    word_ends: tuple[float, ...] = ()
    weight: float = 1.0


class LeftOut(NamedTuple):
    """What a reader cannot use: the reason, the same words for all of its kind, and which."""

    split: str
    reason: str
    name: str


@dataclass(frozen=True)
class Options:
    """The folder of a corpus, and what some layouts need besides."""

    source: Path
    languages: tuple[str, str] | None = None  # source and target
    common_voice: Path | None = None  # the folder of the language
    covost: Path | None = None  # covost_v2.<source>_<target>.tsv
    held_out: int = 200  # training utterances for selection
    seed: int = 1
    min_words: int = 1  # of a transcript


class Layout(Protocol):
    """Reads a corpus from the files that are downloaded."""

    def __call__(self, options: Options) -> Iterator[Entry | LeftOut]:
        """The utterances in order, lazily.

        Raises CorpusError or TableError naming the file, if the layout is another.
        """
