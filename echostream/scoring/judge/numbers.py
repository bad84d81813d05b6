"""Numbers that are written in digits as English words, as they are spoken."""

from __future__ import annotations

import re
from collections.abc import Callable

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"))
_MOST_DIGITS = 15  # longer ones are spoken digit by digit
_ORDINALS = {
    **{"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"},
    **{"nine": "ninth", "twelve": "twelfth"},
}
_YEARS = (range(1100, 2000), range(2010, 2100))  # spoken as two numbers of two digits
_UNITS = {"$": "dollar", "€": "euro", "£": "pound"}
_SCALE_WORD = r"(?: (?:thousand|million|billion|trillion)\b)?"
_DIGITS = r"\d{1,3}(?:,\d{3})+|\d+"
_NUMBER = rf"(?<!\d)(?:{_DIGITS})(?:\.\d+)?"  # whole, or the search would be quadratic

# Each pattern with the spoken form of its match; tried in this order.
_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"\b(\d{1,2})[:h]([0-5]\d)\b"),
        lambda found: _clock(int(found[1]), int(found[2])),
    ),
    (
        re.compile(rf"([$€£]) ?({_NUMBER}{_SCALE_WORD})"),
        lambda found: _money(found[2], _UNITS[found[1]]),
    ),
    (
        re.compile(rf"({_NUMBER}{_SCALE_WORD}) ?([$€£])"),
        lambda found: _money(found[1], _UNITS[found[2]]),
    ),
    (re.compile(r"(?<=\d) ?%"), lambda found: " percent"),
    (re.compile(r"\b(\d{1,15})(?:st|nd|rd|th)\b"), lambda found: ordinal(int(found[1]))),
    (
        re.compile(r"\b(\d{2,4})'?s\b"),
        lambda found: _plural(_spoken(found[1])),
    ),
    (re.compile(_NUMBER), lambda found: f" {_spoken(found[0])} "),
)


def spell_out(text: str) -> str:
    """The text in lower case with words for digits: 3rd, 1990, 10:15, 1,200.5, 40 %, $5."""
    for pattern, spoken in _RULES:
        text = pattern.sub(spoken, text)
    return text


def cardinal(number: int) -> str:
    """A whole number below 10^15 in words, without "and" and hyphens."""
    for size, name in _SCALES:
        if number >= size:
            return _joined(f"{cardinal(number // size)} {name}", number % size)
    if number >= 100:
        return _joined(f"{_ONES[number // 100]} hundred", number % 100)
    if number >= 20:
        return _joined(_TENS[number // 10], number % 10)
    return _ONES[number]


def ordinal(number: int) -> str:
    """First, second, ... in words."""
    *before, last = cardinal(number).split()
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return " ".join([*before, last])


def _joined(head: str, rest: int) -> str:
    return f"{head} {cardinal(rest)}" if rest else head


def _spoken(number: str) -> str:
    whole, _, decimals = number.partition(".")
    is_year = len(whole) == 4 and any(int(whole) in years for years in _YEARS)
    spoken = _year(int(whole)) if is_year else _whole(whole)
    return f"{spoken} point {_digits(decimals)}" if decimals else spoken


def _whole(number: str) -> str:
    digits = number.replace(",", "")
    # One that begins with 0 is a telephone number, for example.
    if len(digits) > _MOST_DIGITS or (digits[0] == "0" and len(digits) > 1):
        return _digits(digits)
    return cardinal(int(digits))


def _digits(number: str) -> str:
    return " ".join(_ONES[int(digit)] for digit in number)


def _year(year: int) -> str:
    first, last = divmod(year, 100)
    if last == 0:
        return f"{cardinal(first)} hundred"
    return f"{cardinal(first)} {'oh ' if last < 10 else ''}{cardinal(last)}"


def _clock(hours: int, minutes: int) -> str:
    """10:15 as "quarter past ten", and so on; other minutes as two numbers."""
    if minutes == 0:
        return f"{cardinal(hours)} o'clock"
    if minutes == 15:
        return f"quarter past {cardinal(hours)}"
    if minutes == 30:
        return f"half past {cardinal(hours)}"
    if minutes == 45:
        return f"quarter to {cardinal(hours % 12 + 1)}"
    return f"{cardinal(hours)} {'oh ' if minutes < 10 else ''}{cardinal(minutes)}"


def _money(amount: str, unit: str) -> str:
    number, _, scale = amount.partition(" ")
    spoken = _spoken(number) if "." in number else _whole(number)  # no year
    plural = "" if spoken == "one" and not scale else "s"
    return f" {' '.join(filter(None, [spoken, scale, unit + plural]))} "


def _plural(spoken: str) -> str:
    return f"{spoken[:-1]}ies" if spoken.endswith("y") else f"{spoken}s"
