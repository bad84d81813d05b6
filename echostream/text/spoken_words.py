"""The words of a stream of target tokens as the unit decoder takes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from echostream.config import BLANK_ID
from echostream.text.tokenizer import Tokenizer


class SpokenWord(NamedTuple):
    """The tokens of a word, and the first token of the next one; the blank at the end of a text."""

    tokens: tuple[int, ...]
    following: int


def spoken_words(
    tokenizer: Tokenizer, unit: str, tokens: Iterable[int], unfinished: tuple[int, ...] = ()
) -> tuple[list[SpokenWord], tuple[int, ...]]:
    """The words that are complete with these tokens, and the tokens of the last word, which is not.

    `unfinished` is the second value of the call before. For a target language without spaces (unit
    "char") each token is a word.
    """
    each = unit == "char" or tokenizer.has_only_words
    words = []
    for token in tokens:
        if unfinished and (each or tokenizer.starts_word(token)):
            words.append(SpokenWord(unfinished, token))
            unfinished = ()
        unfinished += (token,)
    return words, unfinished


def last_word(unfinished: tuple[int, ...]) -> list[SpokenWord]:
    """The last word of a text, if there is one, from its tokens."""
    return [SpokenWord(unfinished, BLANK_ID)] if unfinished else []


def words_of_text(tokenizer: Tokenizer, unit: str, text: str) -> list[SpokenWord]:
    """The words of a whole text."""
    words, unfinished = spoken_words(tokenizer, unit, tokenizer.encode(text))
    return [*words, *last_word(unfinished)]
