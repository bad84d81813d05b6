"""Normalisers: what a judge writes and what a reference has in one form; tables by hand."""

from __future__ import annotations

import pytest

from echostream.scoring.judge.normalizer import default_normalizer, english, plain
from echostream.scoring.judge.numbers import cardinal, ordinal

ENGLISH = {
    "It's 10:15.": "it is quarter past ten",
    "at 10:30, 11:45 and 12:45": "at half past ten quarter to twelve and quarter to one",
    "3:00 or 3:05 or 3:20": "three oclock or three oh five or three twenty",
    "three o'clock": "three oclock",
    "March 1st, 1990": "march first nineteen ninety",
    "2001, 2010 and 1900": "two thousand one twenty ten and nineteen hundred",
    "the 1990s": "the nineteen nineties",
    "one hundred and five": "one hundred five",
    "105": "one hundred five",
    "between two and five": "between two and five",
    "30 euros, €30": "thirty euros thirty euros",
    "$1, $1.50, £2 million": "one dollar one point five zero dollars two million pounds",
    "1,200.5 and 40 %": "one thousand two hundred point five and forty percent",
    "007": "zero zero seven",
    "twenty-five": "twenty five",
    "We can\u2019t, don't and won't": "we can not do not and will not",
    "the cat's and that's": "the cats and that is",
    "Dr. Smith": "doctor smith",
    "": "",
}


@pytest.mark.parametrize(("text", "spoken"), ENGLISH.items())
def test_english_is_written_as_it_is_spoken(text: str, spoken: str) -> None:
    assert english(text) == spoken
    assert english(spoken) == spoken  # a reference in that form stays as it is


def test_plain_takes_out_case_and_punctuation_and_nothing_else() -> None:
    assert plain("L\u2019Assemblée, n'est-ce pas ? À 10:15") == "lassemblée nest ce pas à 10 15"
    assert default_normalizer("fr") == "plain-1" and default_normalizer("en") == "english-1"


NUMBERS = {
    0: ("zero", "zeroth"),
    8: ("eight", "eighth"),
    12: ("twelve", "twelfth"),
    20: ("twenty", "twentieth"),
    21: ("twenty one", "twenty first"),
    100: ("one hundred", "one hundredth"),
    1_003: ("one thousand three", "one thousand third"),
    250_000: ("two hundred fifty thousand", "two hundred fifty thousandth"),
    7_000_019: ("seven million nineteen", "seven million nineteenth"),
}


@pytest.mark.parametrize(("number", "words"), NUMBERS.items())
def test_numbers_in_words(number: int, words: tuple[str, str]) -> None:
    assert (cardinal(number), ordinal(number)) == words


def test_a_number_too_long_for_words_is_read_digit_by_digit() -> None:
    assert english("1" + "0" * 15) == "one" + " zero" * 15
    assert english("$" + "1" * 5000).split() == [*["one"] * 5000, "dollars"]
    assert english("1" * 5000).split() == ["one"] * 5000
