"""The utterances of a run: a grammar spoken by espeak-ng, or tables on disk."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from echostream.config import ConfigError
from echostream.data.grammar import Grammar
from echostream.data.synthetic import TRAIN_VOICES, SyntheticSpeech
from echostream.data.table import read_tsv
from echostream.data.utterance import Utterance
from echostream.training.config import DataConfig


class TableSpeech:
    """Utterances of a table, shuffled anew in each pass; index n is item n of the endless row."""

    def __init__(self, path: str | Path, seed: int) -> None:
        self._items = read_tsv(path)
        self._seed = seed

    def __len__(self) -> int:
        return len(self._items)

    def utterance(self, index: int) -> Utterance:
        """The utterance at `index`, in pass `index // len`."""
        passes, place = divmod(index, len(self._items))
        order = list(range(len(self._items)))
        random.Random(f"{self._seed} {passes}").shuffle(order)
        return self._items[order[place]]

    def pair(self, index: int) -> tuple[str, str]:
        """The texts of the utterance at `index`."""
        item = self.utterance(index)
        return item.source, item.target


Speech = SyntheticSpeech | TableSpeech


def open_sources(config: DataConfig) -> tuple[Speech, Speech]:
    """The training and the dev utterances of a configuration.

    Raises:
        ConfigError: if only one of the two tables is named.
    """
    if (config.train_tsv is None) != (config.dev_tsv is None):
        raise ConfigError("`train_tsv` and `dev_tsv` must both be given, or neither.")
    if config.train_tsv is not None and config.dev_tsv is not None:
        return TableSpeech(config.train_tsv, config.seed), TableSpeech(config.dev_tsv, config.seed)
    grammar = Grammar.load(config.grammar)
    return (
        SyntheticSpeech(grammar, TRAIN_VOICES, config.seed, "train"),
        SyntheticSpeech(grammar, TRAIN_VOICES, config.seed, "dev"),
    )


def draw_pairs(speech: Speech, count: int) -> Sequence[tuple[str, str]]:
    """The texts of the first `count` utterances."""
    return [tuple(speech.pair(index)) for index in range(count)]  # type: ignore[misc]
