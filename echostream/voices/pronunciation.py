"""The phonemes of a text by espeak-ng, clause by clause, and the word that each belongs to."""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np

from echostream.voices.espeak import Espeak

PAUSES = ".,:;!?"


class Symbol(NamedTuple):
    """A phoneme, a stress mark, a space between words or a pause, and the index of its word."""

    symbol: str
    word: int


def symbols_of(words: list[str], language: str) -> list[Symbol]:
    """The pronunciation of words as they are spoken together, with their punctuation.

    A space belongs to the word before it. Where espeak-ng joins words ("parce que") or divides
    one, the phonemes are assigned to words by comparison with those of each word alone.

    Raises EspeakError for an unknown language.
    """
    symbols: list[Symbol] = []
    first = 0
    for clause in clauses(words):
        if symbols:
            symbols.append(Symbol(" ", first - 1))
        symbols += _clause_symbols(clause, first, language)
        first += len(clause)
        pauses = re.findall(rf"[{PAUSES}]+", clause[-1][-4:])
        symbols += [Symbol(pause, first - 1) for pause in "".join(pauses[-1:])]
    return symbols


def clauses(words: list[str]) -> list[list[str]]:
    """The words up to each one that ends with punctuation."""
    found: list[list[str]] = [[]]
    for word in words:
        found[-1].append(word)
        if word.rstrip('"')[-1:] in (*PAUSES,):
            found.append([])
    return [clause for clause in found if clause]


def phonemes_of(text: str, language: str) -> str:
    """The phonemes of a text with accents as symbols of their own, words separated by spaces."""
    return unicodedata.normalize("NFD", Espeak().phonemes(text, language))


def _spoken(text: str, language: str) -> list[str]:
    """The phonemes of each word that espeak-ng makes of a text; here \u00e7 is one symbol."""
    return phonemes_of(text, language).replace("c\u0327", "\u00e7").split()


def _clause_symbols(clause: list[str], first: int, language: str) -> list[Symbol]:
    spoken = _spoken(" ".join(clause), language)
    if len(spoken) == len(clause):
        owners = [number for number, phonemes in enumerate(spoken) for _ in phonemes]
    else:
        alone = ["".join(_spoken(word, language)) for word in clause]
        owners = _owners(alone, "".join(spoken))
    symbols: list[Symbol] = []
    at = 0
    for number, phonemes in enumerate(spoken):
        if number:
            symbols.append(Symbol(" ", symbols[-1].word))
        symbols += [
            Symbol(symbol, first + owner)
            for symbol, owner in zip(phonemes, owners[at : at + len(phonemes)], strict=True)
        ]
        at += len(phonemes)
    return symbols


def _owners(alone: list[str], spoken: str) -> list[int]:
    """For each phoneme of `spoken` the index of the word that has it when spoken alone."""
    words = [number for number, phonemes in enumerate(alone) for _ in phonemes]
    matcher = SequenceMatcher(None, "".join(alone), spoken, autojunk=False)
    places = [(-1, -1)]
    for match in matcher.get_matching_blocks():
        places += [(match.a + step, match.b + step) for step in range(match.size)]
    places.append((len(words), len(spoken)))
    at = np.interp(range(len(spoken)), [b for _, b in places], [a for a, _ in places])
    return [words[min(max(round(float(place)), 0), len(words) - 1)] for place in at]
