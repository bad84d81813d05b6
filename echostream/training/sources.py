"""The utterances of a run: synthetic speech of a grammar, or tables on disk."""

from __future__ import annotations

import logging
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.config import ConfigError
from echostream.data.synthetic.grammar import Grammar
from echostream.data.synthetic.speech import TRAIN_VOICES, SyntheticSpeech
from echostream.data.table import Table, TableError, read_tsv
from echostream.data.table_row import Row
from echostream.data.utterance import Utterance
from echostream.files import describe
from echostream.frontend.audio import AudioError
from echostream.text.normalization import TextNormalization, load_normalization
from echostream.training.config import DataConfig
from echostream.training.order import EpochOrder

logger = logging.getLogger(__name__)

_MOST_DRAWN = 100_000
_MIN_TRIED = 20  # recordings before "most cannot be read" is an error


class TableSpeech:
    """Utterances of tables, shuffled together in each epoch; indices go on from epoch to epoch.

    A row is used in an epoch as many times as its weight, times that of its table in
    `table_weights`, on average; `weighted=False` uses each once. Rows that cannot be used, lines
    that cannot be read and recordings that are missing, are left out and counted in one warning for
    each table.

    Raises:
        ConfigError: if more than the share `max_lost` of the rows of a table cannot be used, or all
            weights are 0.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        seed: int,
        max_lost: float = 0.2,
        weighted: bool = True,
        table_weights: Sequence[float] = (),
    ) -> None:
        each = [paths] if isinstance(paths, (str, Path)) else paths
        self._tables = [_open_table(path, max_lost) for path in each]
        self._ends = list(accumulate(map(len, self._tables)))
        self._max_lost = max_lost
        self._is_tried = bytearray(self._ends[-1])  # by row: 1, or 2 if it cannot be read
        self._num_tried = self._num_bad = 0
        times = table_weights or [1.0] * len(self._tables)
        weights = np.concatenate(
            [n * table.weights for n, table in zip(times, self._tables, strict=True)]
        )
        weights = weights if weighted else np.ones_like(weights)
        try:
            self._order = EpochOrder(weights, seed, _all_shards(self._tables))
        except ValueError as error:
            raise ConfigError(f"{self._names}: no row can be used: {error}.") from error

    def __len__(self) -> int:
        """The number of utterances in an epoch."""
        return self._order.size

    @property
    def num_rows(self) -> int:
        """The number of different utterances."""
        return self._ends[-1]

    def row(self, number: int) -> Row:
        """A row of the tables, counted through all of them; no audio is read."""
        table, index = self._find(number)
        return table.rows[index]

    def utterance(self, index: int) -> Utterance:
        """The utterance at `index`, in epoch `index // len`.

        Raises:
            AudioError: if its recording cannot be read.
            ConfigError: if more than `max_lost` of the recordings so far could not be read.
        """
        number = self._order.row(index)
        self._num_tried += not self._is_tried[number]
        self._is_tried[number] = self._is_tried[number] or 1
        table, row = self._find(number)
        try:
            return table[row]
        except AudioError as error:
            self._num_bad += self._is_tried[number] == 1
            self._is_tried[number] = 2
            enough = self._num_tried >= min(_MIN_TRIED, self.num_rows)
            if enough and self._num_bad > self._max_lost * self._num_tried:
                raise ConfigError(
                    f"{self._names}: {self._num_bad} of {self._num_tried} utterances have a "
                    f"recording that cannot be read, the last: {error}"
                ) from error
            raise

    def pair(self, index: int) -> tuple[str | None, str | None]:
        """The texts of the utterance at `index`, None for one it lacks; no audio is read."""
        table, row = self._find(self._order.row(index))
        return table.texts(row)

    @property
    def _names(self) -> str:
        return " and ".join(str(table.path) for table in self._tables)

    def _find(self, number: int) -> tuple[Table, int]:
        """The table of a row, and its index there."""
        place = bisect_right(self._ends, number)
        table = self._tables[place]
        return table, number - (self._ends[place] - len(table))


def _open_table(path: str | Path, max_lost: float) -> Table:
    """The table without its bad lines, after a warning that counts them and missing recordings."""
    faults: list[TableError] = []
    table = read_tsv(path, faults)
    missing = table.missing()
    if lost := [*map(str, faults), *missing]:
        num_rows = len(table) + len(faults)
        text = (
            f"{path}: {len(lost)} of {num_rows} rows cannot be used ({len(faults)} lines, "
            f"{len(missing)} recordings), the first: {lost[0]}"
        )
        if len(lost) > max_lost * num_rows:
            raise ConfigError(f"{text} `data.max_lost` allows {max_lost:g} of them.")
        logger.warning("%s They are left out; `echostream data check` names each.", text)
    return table


def _all_shards(tables: Sequence[Table]) -> NDArray[np.int64]:
    """The number of the shard of each row, counted through all tables; -1 for none."""
    parts: list[NDArray[np.int64]] = []
    count = 0
    for table in tables:
        shards = table.shards
        parts.append(np.where(shards < 0, -1, shards + count))
        count += int(shards.max()) + 1
    return np.concatenate(parts)


Speech = SyntheticSpeech | TableSpeech


def open_sources(config: DataConfig) -> tuple[Speech, Speech]:
    """The training and the dev utterances of a configuration.

    Raises:
        ConfigError: if only one of the two tables is given, if too many of its rows cannot be used,
            or if a file cannot be read, naming its key.
        TableError, GrammarError: naming the file, if it cannot be used.
    """
    if (config.train_tsv is None) != (config.dev_tsv is None):
        raise ConfigError("`train_tsv` and `dev_tsv` must both be given, or neither.")
    if config.train_tsv is not None and config.dev_tsv is not None:
        with _naming("data.train_tsv"):
            train = TableSpeech(
                config.train_tsv,
                config.seed,
                config.max_lost,
                table_weights=config.train_weights,
            )
        with _naming("data.dev_tsv"):
            dev = TableSpeech(config.dev_tsv, config.seed, config.max_lost, weighted=False)
            return train, dev
    with _naming("data.grammar"):
        grammar = Grammar.load(config.grammar)
    return (
        SyntheticSpeech(grammar, TRAIN_VOICES, config.seed, "train"),
        SyntheticSpeech(grammar, TRAIN_VOICES, config.seed, "dev"),
    )


def recorded_text(config: DataConfig) -> TextNormalization | None:
    """The normalisation that `echostream data prepare` recorded beside the tables, if it did.

    Raises ConfigError if it cannot be read, or is not the same for all tables.
    """
    if config.train_tsv is None or config.dev_tsv is None:
        return None
    found = {path: load_normalization(Path(path).parent) for path in config.train_tsv}
    found[config.dev_tsv] = load_normalization(Path(config.dev_tsv).parent)
    known = {path: text for path, text in found.items() if text is not None}
    first = next(iter(known), None)
    for path, text in known.items():
        if first is not None and text != known[first]:
            raise ConfigError(
                "`data.train_tsv` and `data.dev_tsv` must have texts of one normalisation, but "
                f"that recorded beside {first} is {known[first]} and that beside {path} is {text}."
            )
    return None if first is None else known[first]


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Context for reading the file of a key: an OSError becomes a ConfigError that names it."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"`{key}`: {describe(error)}") from error


def limit(speech: Speech, count: int) -> int:
    """`count`, or the number of utterances in an epoch if there are fewer."""
    return min(count, len(speech)) if isinstance(speech, TableSpeech) else count


Pair = tuple[str | None, str | None]


def draw_pairs(speech: Speech, count: int) -> list[Pair]:
    """The texts of the first `count` utterances of the first epoch; None for one it lacks."""
    pairs = (speech.pair(index) for index in range(limit(speech, count)))
    return [(source, target) for source, target in pairs]


def random_pair(speech: Speech, rng: random.Random) -> tuple[str, str]:
    """The texts of a random utterance that has both.

    Raises ConfigError if there is hardly one.
    """
    for _ in range(_MOST_DRAWN):
        source, target = speech.pair(rng.randrange(limit(speech, 10**9)))
        if source is not None and target is not None:
            return source, target
    raise ConfigError(
        "`text_pretraining` needs utterances with both texts, but there are hardly any."
    )
