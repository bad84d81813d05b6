"""Examples for the unit decoder: words, their durations, and their units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from echostream.models.unit_decoder import NO_TOKEN
from echostream.text.spoken_words import SpokenWord

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
