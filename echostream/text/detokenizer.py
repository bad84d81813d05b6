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


def join_text(pieces: Iterable[str], unit: str) -> str:
    """The text of pieces given out by `unit`, one after the other; empty ones are left out."""
    return SEPARATORS[unit].join(filter(None, pieces))


class Assembler(Protocol):
    """The text of one stream of ids; `join_text` of all that it returns is the whole text."""

    def push(self, ids: Iterable[int]) -> str:
        """What is certain now and was not before."""

    def finish(self) -> str:
        """What was held back, if anything; what is pushed next begins another text."""


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
    """Whole words with one space between them; it remembers the unfinished one between pushes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._unfinished = ""

    def push(self, ids: Iterable[int]) -> str:
        """The words that are certain now."""
        words, self._unfinished = assemble(self._tokenizer, ids, self._unfinished)
        return " ".join(words)

    def finish(self) -> str:
        """The word held back, if there is one; what is pushed next begins another text."""
        last, self._unfinished = self._unfinished.strip(), ""
        return last


class CharAssembler:
    """Characters, the spaces between them included.

    A space goes out together with the character after it, so that the text neither begins nor ends
    with one: however the ids are cut into calls, the text is `decode(all ids).strip()`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._begun = False
        self._space = ""  # held back until a character follows

    def push(self, ids: Iterable[int]) -> str:
        """All characters of these ids."""
        text = self._space + "".join(self._tokenizer.surface(index) for index in ids)
        if not self._begun:
            text = text.lstrip()
        shown = text.rstrip()
        self._space = text[len(shown) :]
        self._begun = self._begun or bool(shown)
        return shown

    def finish(self) -> str:
        """Nothing: no character is ever held back. What is pushed next begins another text."""
        self._begun, self._space = False, ""
        return ""
