"""Cleaning of sentences: one form of spaces and quotation marks, and what is unsuitable."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from echostream.text.normalization import TextNormalization

KEY = TextNormalization(case="lower", punctuation="drop", apostrophes="straight")

# By the character that replaces them; all spaces are made the same by `split`.
_SAME = {
    "'": "\u2018\u2019\u201b\u02bc\u02b9\u00b4`\uff07",
    '"': "\u00ab\u00bb\u201c\u201d\u201e\u2039\u203a",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2212",
    "...": "\u2026",
    "": "\u200b\u200c\u200d\u00ad\ufeff",
}
_TABLE = str.maketrans({each: ours for ours, theirs in _SAME.items() for each in theirs})
_MARKS = " '\"-.,;:!?"
# In French these letters are always joined, as in sœur and œil.
_LIGATURES = {"oeu": "œu", "Oeu": "Œu", "oeil": "œil", "Oeil": "Œil"}


@dataclass(frozen=True)
class SentenceLimits:
    """How long a sentence of either language may be; words are counted without punctuation."""

    min_words: int = 1
    max_words: int = 14
    max_characters: int = 90

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.max_words:
            raise ValueError(
                f"the words of a sentence must be a range from 1 on, but are {self.min_words} to "
                f"{self.max_words}."
            )


def clean_sentence(text: str, language: str = "") -> str:
    """The sentence with straight quotation marks and apostrophes, and single spaces between words.

    French spaces before `? ! ; :` and within quotation marks are taken out, so that punctuation
    belongs to its word. With `language` fr the ligature is written where it belongs (`sœur`).
    """
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"\u00ab\s*|\s*\u00bb", '"', text).translate(_TABLE)
    text = re.sub(r"\s+(?=[?!;:,.]+(?:\s|\"|$))", "", text)
    if language == "fr":
        for plain, joined in _LIGATURES.items():
            text = text.replace(plain, joined)
    return " ".join(text.split())


def unsuitable(text: str, limits: SentenceLimits) -> str:
    """Why a cleaned sentence is not taken, in the same words for all of a kind; else ""."""
    if any(letter.isdigit() for letter in text):
        return "a digit"  # read in many ways, of which a text has one
    if any(letter not in _MARKS and not _is_latin(letter) for letter in text):
        return "a character that is no Latin letter and no common punctuation"
    words = text.split()
    if any(len(KEY(word).split()) != 1 for word in words):
        return "punctuation that stands alone or joins words"
    if len(words) < limits.min_words:
        return f"fewer than {limits.min_words} words"
    if len(words) > limits.max_words:
        return f"more than {limits.max_words} words"
    if len(text) > limits.max_characters:
        return f"more than {limits.max_characters} characters"
    return ""


def _is_latin(letter: str) -> bool:
    return letter.isalpha() and unicodedata.name(letter, "").startswith("LATIN")
