"""The utterances of a run: synthetic speech of a grammar, or tables on disk."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from echostream.config import ConfigError
from echostream.data.synthetic.grammar import Grammar
from echostream.data.synthetic.speech import TRAIN_VOICES, SyntheticSpeech
from echostream.data.table import TableError, read_tsv
from echostream.data.table_row import Row
from echostream.data.utterance import Utterance
from echostream.files import describe
from echostream.frontend.audio import AudioError
from echostream.text.normalization import TextNormalization, load_normalization
from echostream.training.config import DataConfig

logger = logging.getLogger(__name__)

_MOST_DRAWN = 100_000
_MIN_TRIED = 20  # recordings before "most cannot be read" is an error


class TableSpeech:
    """Utterances of a table, shuffled in each pass; indices go on from one pass to the next.

    Rows that cannot be used, lines that cannot be read and recordings that are missing, are left
    out and counted in one warning.

    Raises:
        ConfigError: if more than the share `max_lost` of the rows cannot be used.
    """

    def __init__(self, path: str | Path, seed: int, max_lost: float = 0.2) -> None:
        faults: list[TableError] = []
        self._table = read_tsv(path, faults)
        self._seed = seed
        self._max_lost = max_lost
        self._tried: set[int] = set()  # rows
        self._bad: set[int] = set()
        missing = self._table.missing()
        if lost := [*map(str, faults), *missing]:
            num_rows = len(self._table) + len(faults)
            text = (
                f"{path}: {len(lost)} of {num_rows} rows cannot be used ({len(faults)} lines, "
                f"{len(missing)} recordings), the first: {lost[0]}"
            )
            if len(lost) > max_lost * num_rows:
                raise ConfigError(f"{text} `data.max_lost` allows {max_lost:g} of them.")
            logger.warning("%s They are left out; `echostream data check` names each.", text)
        self._order = self._shuffled(0)
        self._pass = 0

    def __len__(self) -> int:
        return len(self._table)

    @property
    def rows(self) -> Sequence[Row]:
        """The rows of the table, in its order; no audio is read."""
        return self._table.rows

    def utterance(self, index: int) -> Utterance:
        """The utterance at `index`, in pass `index // len`.

        Raises:
            AudioError: if its recording cannot be read.
            ConfigError: if more than `max_lost` of the recordings so far could not be read.
        """
        row = self._row(index)
        self._tried.add(row)
        try:
            return self._table[row]
        except AudioError as error:
            self._bad.add(row)
            enough = len(self._tried) >= min(_MIN_TRIED, len(self._table))
            if enough and len(self._bad) > self._max_lost * len(self._tried):
                raise ConfigError(
                    f"{self._table.path}: {len(self._bad)} of {len(self._tried)} utterances have a "
                    f"recording that cannot be read, the last: {error}"
                ) from error
            raise

    def pair(self, index: int) -> tuple[str | None, str | None]:
        """The texts of the utterance at `index`, None for one it lacks; no audio is read."""
        return self._table.texts(self._row(index))

    def _row(self, index: int) -> int:
        number, position = divmod(index, len(self._table))
        if number != self._pass:  # the order of one pass is kept: indices come in order
            self._order, self._pass = self._shuffled(number), number
        return self._order[position]

    def _shuffled(self, number: int) -> list[int]:
        order = list(range(len(self._table)))
        random.Random(f"{self._seed} {number}").shuffle(order)
        return order


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
            train = TableSpeech(config.train_tsv, config.seed, config.max_lost)
        with _naming("data.dev_tsv"):
            return train, TableSpeech(config.dev_tsv, config.seed, config.max_lost)
    with _naming("data.grammar"):
        grammar = Grammar.load(config.grammar)
    return (
        SyntheticSpeech(grammar, TRAIN_VOICES, config.seed, "train"),
        SyntheticSpeech(grammar, TRAIN_VOICES, config.seed, "dev"),
    )


def recorded_text(config: DataConfig) -> TextNormalization | None:
    """The normalisation that `echostream data prepare` recorded beside the tables, if it did.

    Raises ConfigError if it cannot be read, or is another one for the dev table.
    """
    if config.train_tsv is None or config.dev_tsv is None:
        return None
    train, dev = (load_normalization(Path(p).parent) for p in (config.train_tsv, config.dev_tsv))
    if train is not None and dev is not None and train != dev:
        raise ConfigError(
            f"`data.train_tsv` and `data.dev_tsv` must have texts of one normalisation, but those "
            f"recorded beside them are {train} and {dev}."
        )
    return train


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Context for reading the file of a key: an OSError becomes a ConfigError that names it."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"`{key}`: {describe(error)}") from error


def limit(speech: Speech, count: int) -> int:
    """`count`, or the number of different utterances if there are fewer."""
    return min(count, len(speech)) if isinstance(speech, TableSpeech) else count


Pair = tuple[str | None, str | None]


def draw_pairs(speech: Speech, count: int) -> list[Pair]:
    """The texts of the first `count` utterances, each once; None for one it lacks."""
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
