"""The words of a stream of target tokens as the unit decoder takes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from echostream.config import BLANK_ID
from echostream.text.tokenizer import Tokenizer


class SpokenWord(NamedTuple):
    """The tokens of a word, and the first token of the next one; the blank if the text has ended."""

    tokens: tuple[int, ...]
    following: int


class SpokenWords:
    """Divides the target tokens of a stream into words; the last word is kept until the next one.

    For a target language without spaces (`unit` "char") each token is a word.
    """

    def __init__(self, tokenizer: Tokenizer, unit: str) -> None:
        self._tokenizer = tokenizer
        self._each = unit == "char" or tokenizer.has_only_words
        self._word: tuple[int, ...] = ()

    def push(self, tokens: Iterable[int]) -> list[SpokenWord]:
        """The words that are complete with these tokens."""
        words = []
        for token in tokens:
            if self._word and (self._each or self._tokenizer.starts_word(token)):
                words.append(SpokenWord(self._word, token))
                self._word = ()
            self._word += (token,)
        return words

    def finish(self) -> list[SpokenWord]:
        """The last word, if there is one; the next push begins another text."""
        last, self._word = self._word, ()
        return [SpokenWord(last, BLANK_ID)] if last else []


def spoken_words(tokenizer: Tokenizer, unit: str, tokens: Iterable[int]) -> list[SpokenWord]:
    """The words of a whole text."""
    words = SpokenWords(tokenizer, unit)
    return [*words.push(tokens), *words.finish()]
