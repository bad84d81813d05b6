"""Normalisers: texts of references and judges in one form, so that spelling is no error.

A judge writes "It's 10:15." where a reference has "it is quarter past ten". Both sides of a
comparison go through the same normaliser, and its name is printed with the scores.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType

from echostream.scoring.judge.numbers import spell_out
from echostream.scoring.texts import composed

# Those of verbs alone: "the cat's" may be of a cat.
_CONTRACTIONS = tuple(
    (re.compile(rf"\b{pattern}\b"), full)
    for pattern, full in (
        (r"won't", "will not"),
        (r"can't|cannot", "can not"),
        (r"shan't", "shall not"),
        (r"let's", "let us"),
        (r"(\w+)n't", r"\1 not"),
        (r"(it|that|he|she|there|here|what|who|where|how)'s", r"\1 is"),
        (r"(\w+)'re", r"\1 are"),
        (r"(\w+)'ll", r"\1 will"),
        (r"(\w+)'ve", r"\1 have"),
        (r"i'm", "i am"),
    )
)
_TITLES = tuple(
    (re.compile(rf"\b{short}\b\.?"), full)
    for short, full in (("mr", "mister"), ("mrs", "missus"), ("dr", "doctor"), ("ok", "okay"))
)
# "one hundred and five", but not "between two and five".
_AND_IN_NUMBER = re.compile(
    r"\b(hundred|thousand|million|billion) and (?=(?:one|two|three|four|five|six|seven|eight|nine|"
    r"ten|eleven|twelve|\w+teen|\w+ty)\b)"
)
# Typographic apostrophes: single quotation marks and the letter.
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2019\u2018\u02bc", "'"))


def plain(text: str) -> str:
    """Lower case; each run of other characters than letters and digits is a space.

    Apostrophes between letters are taken out: "l'assemblée" and "lassemblée" are equal.
    """
    text = composed(text).translate(_APOSTROPHES).lower()
    text = re.sub(r"(?<=\w)'(?=\w)", "", text)
    return " ".join(re.sub(r"[^\w]|_", " ", text).split())


def english(text: str) -> str:
    """As `plain`, with words for digits and short forms in full.

    Times of day become "quarter past ten", 1990 a year, $5 and 40 % words; "and" within
    a number is left out.
    """
    text = composed(text).translate(_APOSTROPHES).lower()
    for pattern, full in (*_CONTRACTIONS, *_TITLES):
        text = pattern.sub(full, text)
    return _AND_IN_NUMBER.sub(r"\1 ", plain(spell_out(text)))


NORMALIZERS: MappingProxyType[str, Callable[[str], str]] = MappingProxyType(
    {"english-1": english, "plain-1": plain, "none": str}
)


def default_normalizer(language: str) -> str:
    """The name of the normaliser of a language."""
    return "english-1" if language == "en" else "plain-1"
