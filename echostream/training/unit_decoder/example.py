"""Examples for the unit decoder: words, their durations, and their units."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from echostream.data.table_text import TableError
from echostream.data.unit_table import TableRow, UnitTable
from echostream.models.ctc_align import PADDING
from echostream.models.word_encoder import NO_TOKEN
from echostream.speech_config import CTC, UnitDecoderConfig
from echostream.text.spoken_words import SpokenWord, words_of_text
from echostream.text.tokenizer import Tokenizer

TEXT, WORD_ENDS = "tgt_text", "tgt_word_ends"
logger = logging.getLogger(__name__)

NO_UNIT = PADDING


class UnitExample(NamedTuple):
    """A text as words, the number of units of each word, and all units.

    Where the ends of the words are not known, the last word has all units.
    """

    words: tuple[SpokenWord, ...]
    durations: tuple[int, ...]
    units: tuple[int, ...]

    def positions(self, config: UnitDecoderConfig) -> tuple[int, ...]:
        """The positions of the alignment of each word, of the kind ctc."""
        counts = (min(len(word.tokens), config.max_tokens) for word in self.words)
        return tuple(config.unit_upsample * count for count in counts)


class UnitBatch(NamedTuple):
    """Padded examples; see `UnitDecoder`."""

    words: Tensor  # (B, N, P)
    following: Tensor  # (B, N)
    durations: Tensor  # (B, N), 0 for padding
    units: Tensor  # (B, T), NO_UNIT for padding
    positions: Tensor  # (B, N) of the alignment of the kind ctc, 0 for padding


def read_examples(
    table: UnitTable, config: UnitDecoderConfig, tokenizer: Tokenizer, target_unit: str
) -> list[UnitExample]:
    """The examples of a table that a unit decoder of `config` can learn.

    A row is left out if its text has no word, or if its words are not those of `tgt_word_ends`; of
    the kind frame, if a word has no unit or more than `max_duration`; of the kind ctc, if its units
    and the blanks between equal ones are more than the positions of the alignment. The log says how
    many, why, and which lines. The kind ctc needs no column `tgt_word_ends`.

    Raises `TableError` naming the line, for a column that is missing or numbers that are none, and
    if no row is left.
    """
    known = WORD_ENDS in table.columns
    for name in (TEXT,) if config.kind == CTC else (TEXT, WORD_ENDS):
        if name not in table.columns:
            raise TableError(
                f"{table.path}: the column `{name}` is missing; found {str(table.columns)[:400]}."
            )
    examples, left_out = [], defaultdict[str, list[int]](list)
    for row in table.rows:
        words = words_of_text(tokenizer, target_unit, row.fields[TEXT])
        units = table.units(row, config.num_units)
        ends = _word_ends(table, row) if known else [0] * (len(words) - 1) + [len(units)]
        durations = np.diff(ends, prepend=0)
        example = UnitExample(tuple(words), tuple(durations.tolist()), tuple(units.tolist()))
        if why := _why_not(example, config, known):
            left_out[why].append(row.line)
        else:
            examples.append(example)
    for why, lines in left_out.items():
        logger.warning(
            "%s: %d of %d rows %s: lines %s",
            table.path,
            len(lines),
            len(table.rows),
            why,
            f"{', '.join(map(str, lines[:5]))}{' ...' if len(lines) > 5 else ''}",
        )
    if not examples:
        raise TableError(
            f"{table.path}: no row can be learned: all {len(table.rows)} are left out."
        )
    return examples


def _why_not(example: UnitExample, config: UnitDecoderConfig, has_ends: bool) -> str:
    """Why an example cannot be learned; empty if it can."""
    durations, units = example.durations, example.units
    if not example.words:
        return "have no words"
    if len(example.words) != len(durations) or sum(durations) != len(units):
        return f"have other words or units than `{WORD_ENDS}`"
    if has_ends and min(durations) < 0:
        return f"have `{WORD_ENDS}` that do not rise"
    if config.kind == CTC:
        repeats = sum(a == b for a, b in pairwise(units))
        room = sum(example.positions(config))
        too_long = len(units) + repeats > room
        return "have more units than CTC can reach with `network.unit_upsample`" if too_long else ""
    if min(durations) < 1 or max(durations) > config.max_duration:
        return f"have a word of no unit, or of more than {config.max_duration}"
    return ""


def _word_ends(table: UnitTable, row: TableRow) -> list[int]:
    words = row.fields[WORD_ENDS].split()
    for word in words:
        if not (word.isascii() and word.isdecimal() and len(word) <= 9):
            raise TableError(
                f"{table.path}, line {row.line}: `{WORD_ENDS}` must be numbers of units, but holds "
                f"{word[:40]!r}."
            )
    return [int(word) for word in words]


def collate_units(examples: Sequence[UnitExample], config: UnitDecoderConfig) -> UnitBatch:
    """A batch of examples."""
    num_tokens = max(len(word.tokens) for example in examples for word in example.words)
    words = []
    for example in examples:
        rows = [torch.tensor(word.tokens) for word in example.words]
        padded = [functional.pad(r, (0, num_tokens - len(r)), value=NO_TOKEN) for r in rows]
        words.append(torch.stack(padded))
    return UnitBatch(
        pad_sequence(words, batch_first=True, padding_value=NO_TOKEN),
        _padded([[word.following for word in example.words] for example in examples]),
        _padded([example.durations for example in examples]),
        _padded([example.units for example in examples], NO_UNIT),
        _padded([example.positions(config) for example in examples]),
    )


def _padded(rows: Sequence[Sequence[int]], value: int = 0) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
