"""Examples for the unit decoder: words, their durations, and their units."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from echostream.data.table_text import TableError
from echostream.data.unit_table import TableRow, UnitTable
from echostream.models.unit_decoder import NO_TOKEN
from echostream.speech_config import UnitDecoderConfig
from echostream.text.spoken_words import SpokenWord, words_of_text
from echostream.text.tokenizer import Tokenizer

TEXT, WORD_ENDS = "tgt_text", "tgt_word_ends"
logger = logging.getLogger(__name__)

NO_UNIT = -100  # padding, ignored by cross-entropy


class UnitExample(NamedTuple):
    """A text as words, the number of units of each word, and all units."""

    words: tuple[SpokenWord, ...]
    durations: tuple[int, ...]
    units: tuple[int, ...]


class UnitBatch(NamedTuple):
    """Padded examples; see `UnitDecoder.forward`."""

    words: Tensor  # (B, N, P)
    following: Tensor  # (B, N)
    durations: Tensor  # (B, N), 0 for padding
    units: Tensor  # (B, T), NO_UNIT for padding


def read_examples(
    table: UnitTable, config: UnitDecoderConfig, tokenizer: Tokenizer, target_unit: str
) -> list[UnitExample]:
    """The examples of a table that a unit decoder of `config` can learn.

    A row is left out if its text has no word, if its words are not those of `tgt_word_ends`, or if
    a word has no unit or more than `max_duration`. The log says how many, and why.

    Raises `TableError` naming the line, for a column that is missing or numbers that are none, and
    if no row is left.
    """
    for name in (TEXT, WORD_ENDS):
        if name not in table.columns:
            raise TableError(
                f"{table.path}: the column `{name}` is missing; found {str(table.columns)[:400]}."
            )
    examples, left_out = [], Counter[str]()
    for row in table.rows:
        words = words_of_text(tokenizer, target_unit, row.fields[TEXT])
        durations = np.diff(_word_ends(table, row), prepend=0)
        units = table.units(row, config.num_units)
        if not words:
            left_out["have no words"] += 1
        elif len(words) != len(durations) or durations.sum() != len(units):
            left_out[f"have other words or units than `{WORD_ENDS}`"] += 1
        elif durations.min() < 1 or durations.max() > config.max_duration:
            left_out[f"have a word of no unit, or of more than {config.max_duration}"] += 1
        else:
            examples.append(
                UnitExample(tuple(words), tuple(durations.tolist()), tuple(units.tolist()))
            )
    for why, count in left_out.items():
        logger.warning("%s: %d of %d rows %s", table.path, count, len(table.rows), why)
    if not examples:
        raise TableError(
            f"{table.path}: no row can be learned: all {len(table.rows)} are left out."
        )
    return examples


def _word_ends(table: UnitTable, row: TableRow) -> list[int]:
    words = row.fields[WORD_ENDS].split()
    for word in words:
        if not (word.isascii() and word.isdecimal() and len(word) <= 9):
            raise TableError(
                f"{table.path}, line {row.line}: `{WORD_ENDS}` must be numbers of units, but holds "
                f"{word[:40]!r}."
            )
    return [int(word) for word in words]


def collate_units(examples: Sequence[UnitExample]) -> UnitBatch:
    """A batch of examples."""
    num_tokens = max(len(word.tokens) for example in examples for word in example.words)
    words, following = [], []
    for example in examples:
        rows = [torch.tensor(word.tokens) for word in example.words]
        padded = [functional.pad(r, (0, num_tokens - len(r)), value=NO_TOKEN) for r in rows]
        words.append(torch.stack(padded))
        following.append(torch.tensor([word.following for word in example.words]))
    return UnitBatch(
        pad_sequence(words, batch_first=True, padding_value=NO_TOKEN),
        pad_sequence(following, batch_first=True),
        pad_sequence([torch.tensor(e.durations) for e in examples], batch_first=True),
        pad_sequence(
            [torch.tensor(e.units) for e in examples], batch_first=True, padding_value=NO_UNIT
        ),
    )
