"""Streaming detokenisation: ids to whole words or to characters.

Words, for languages with spaces: SimulEval joins the texts of an agent with spaces, so a word must
be emitted as a whole, and it is complete only when the next one begins or the source has ended. If
every piece of the vocabulary is a whole word, it is emitted at once.

Characters, for languages without spaces, in which the only word would be the whole sentence: every
code point of a piece is emitted at once. A combining mark may follow later than its character;
emitted text is only appended to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from echostream.config import EMISSION_UNITS
from echostream.text.tokenizer import Tokenizer

SEPARATORS = {"word": " ", "char": ""}  # between emission units
assert tuple(SEPARATORS) == EMISSION_UNITS


def join_text(words: Iterable[str], unit: str) -> str:
    """The text of words, joined with spaces, or of characters, concatenated."""
    return SEPARATORS[unit].join(words)


class Assembler(Protocol):
    """Words (or characters) of one stream of ids; `join_text` of all of them is the whole text."""

    def push(self, ids: Iterable[int]) -> list[str]:
        """The newly complete words."""

    def finish(self) -> list[str]:
        """The word held back, if any; the next push begins another text."""

    def get_state(self) -> list[Any]:
        """All that the stream has, as values."""

    def set_state(self, state: Sequence[Any]) -> None:
        """Takes the state of another stream."""


def make_assembler(tokenizer: Tokenizer, unit: str) -> Assembler:
    """The assembler of an emission unit."""
    return CharAssembler(tokenizer) if unit == "char" else WordAssembler(tokenizer)


def assemble(
    tokenizer: Tokenizer, ids: Iterable[int], unfinished: str = ""
) -> tuple[list[str], str]:
    """The newly complete words, and the letters of the last word, which is not complete.

    `unfinished` is the second value of the call before; after the last ids it is the last word, or
    "". The words of all calls together are `decode(all ids).split()`.
    """
    text = unfinished + "".join(tokenizer.surface(index) for index in ids)
    words = text.split()
    if words and not text[-1].isspace() and not tokenizer.has_only_words:
        return words[:-1], words[-1]
    return words, ""


class WordAssembler:
    """Emits whole words; the incomplete one is kept between pushes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._unfinished = ""

    def push(self, ids: Iterable[int]) -> list[str]:
        """The newly complete words."""
        words, self._unfinished = assemble(self._tokenizer, ids, self._unfinished)
        return words

    def finish(self) -> list[str]:
        """The word held back, if any; the next push begins another text."""
        last, self._unfinished = self._unfinished.strip(), ""
        return [last] if last else []

    def get_state(self) -> list[Any]:
        """See `Assembler.get_state`."""
        return [self._unfinished]

    def set_state(self, state: Sequence[Any]) -> None:
        """See `Assembler.set_state`."""
        (self._unfinished,) = state


class CharAssembler:
    """Emits characters, the spaces between them included.

    A space is held back until the next character, so that the text neither begins nor ends with
    one: the text of all calls together is `decode(all ids).strip()`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._begun = False
        self._space = ""  # held back until a character follows

    def push(self, ids: Iterable[int]) -> list[str]:
        """The characters of these ids."""
        text = self._space + "".join(self._tokenizer.surface(index) for index in ids)
        if not self._begun:
            text = text.lstrip()
        emitted = text.rstrip()
        self._space = text[len(emitted) :]
        self._begun = self._begun or bool(emitted)
        return list(emitted)

    def finish(self) -> list[str]:
        """An empty list: no character is held back. The next push begins another text."""
        self._begun, self._space = False, ""
        return []

    def get_state(self) -> list[Any]:
        """See `Assembler.get_state`."""
        return [self._begun, self._space]

    def set_state(self, state: Sequence[Any]) -> None:
        """See `Assembler.set_state`."""
        self._begun, self._space = state
