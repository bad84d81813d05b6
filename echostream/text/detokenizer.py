"""Text from ids that arrive a few at a time, given out by the word or by the character.

By the word, for languages with spaces: SimulEval joins what an agent writes with spaces, so a word
goes out whole or not at all, and it is known to be whole only when the next one begins or the
source has ended. Where every piece of the vocabulary is a whole word there is nothing to wait for.

By the character, for languages without spaces, where that would be the whole sentence: every code
point of a piece goes out as soon as the piece is decided. A combining mark may come later than the
character that it belongs to; what has been given out stays as it is, and the text grows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from echostream.config import EMISSION_UNITS
from echostream.text.tokenizer import Tokenizer

SEPARATORS = {"word": " ", "char": ""}  # between one piece of text and the next
assert tuple(SEPARATORS) == EMISSION_UNITS


def join_text(words: Iterable[str], unit: str) -> str:
    """The text of words, with one space between them, or of characters, as they are."""
    return SEPARATORS[unit].join(words)


class Assembler(Protocol):
    """Words (or characters) of one stream of ids; `join_text` of all of them is the whole text."""

    def push(self, ids: Iterable[int]) -> list[str]:
        """The words that are complete now and were not before."""

    def finish(self) -> list[str]:
        """The word that was held back, if any; what is pushed next begins another text."""


def make_assembler(tokenizer: Tokenizer, unit: str) -> Assembler:
    """The assembler of an emission unit."""
    return CharAssembler(tokenizer) if unit == "char" else WordAssembler(tokenizer)


def assemble(
    tokenizer: Tokenizer, ids: Iterable[int], unfinished: str = ""
) -> tuple[list[str], str]:
    """The words that new ids complete, and the letters of the one that may still grow.

    `unfinished` is what the call before returned second; after the last ids it is the last word,
    or "". However the ids are cut into calls, the words are `decode(all ids).split()`.
    """
    text = unfinished + "".join(tokenizer.surface(index) for index in ids)
    words = text.split()
    if words and not text[-1].isspace() and not tokenizer.has_only_words:
        return words[:-1], words[-1]
    return words, ""


class WordAssembler:
    """Whole words; the unfinished one is kept between pushes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._unfinished = ""

    def push(self, ids: Iterable[int]) -> list[str]:
        """The words that are complete now."""
        words, self._unfinished = assemble(self._tokenizer, ids, self._unfinished)
        return words

    def finish(self) -> list[str]:
        """The word held back, if there is one; what is pushed next begins another text."""
        last, self._unfinished = self._unfinished.strip(), ""
        return [last] if last else []


class CharAssembler:
    """Characters, the spaces between them included.

    A space goes out together with the character after it, so that the text neither begins nor ends
    with one: however the ids are cut into calls, the text is `decode(all ids).strip()`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._begun = False
        self._space = ""  # held back until a character follows

    def push(self, ids: Iterable[int]) -> list[str]:
        """All characters of these ids."""
        text = self._space + "".join(self._tokenizer.surface(index) for index in ids)
        if not self._begun:
            text = text.lstrip()
        shown = text.rstrip()
        self._space = text[len(shown) :]
        self._begun = self._begun or bool(shown)
        return list(shown)

    def finish(self) -> list[str]:
        """Nothing: no character is ever held back. What is pushed next begins another text."""
        self._begun, self._space = False, ""
        return []
