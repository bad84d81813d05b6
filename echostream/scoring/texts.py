"""Texts for comparison: in Unicode's composed form (NFC), with one or several references.

A letter with an accent can be one code point (NFC) or two (NFD): the same text for a reader, not
for a metric. Both sides of a comparison are therefore normalised to NFC.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

BETWEEN_REFERENCES = "\t"
# Marks on one letter, the limit of Unicode's stream-safe texts; NFC is quadratic in their number.
MOST_MARKS = 30
_LONGEST_GROUP = 2 + MOST_MARKS


def composed(text: str) -> str:
    """The text in NFC."""
    return unicodedata.normalize("NFC", text)


def is_composed(text: str) -> bool:
    """The text is in NFC already."""
    return unicodedata.is_normalized("NFC", text)


def has_too_many_marks(text: str) -> bool:
    """More than `MOST_MARKS` combining marks follow each other."""
    if text.isascii():
        return False
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > MOST_MARKS:
            return True
    return False


def references_of(line: str) -> tuple[str, ...]:
    """The references of a line, separated by tabs; blank ones are dropped, unless all are blank."""
    parts = [part.strip() for part in line.split(BETWEEN_REFERENCES)] if "\t" in line else [line]
    return tuple(filter(None, parts)) or ("",)


def characters(text: str) -> list[str]:
    """The characters of the text in NFC, without white space."""
    return [character for character in composed(text) if not character.isspace()]


def characters_with_times(
    text: str, times: Sequence[tuple[float, ...]]
) -> tuple[list[str], list[tuple[float, ...]]]:
    """`characters` of a text and their times, from the times of its code points.

    A character composed of several code points has the time of the last of them.
    """
    if is_composed(text):
        pairs = [(character, time) for character, time in zip(text, times, strict=True)]
    else:
        pairs = [
            (character, time)
            for group, time in _groups(text, times)
            for character in composed(group)
        ]
    counted = [(character, time) for character, time in pairs if not character.isspace()]
    return [character for character, _ in counted], [time for _, time in counted]


def _groups(text: str, times: Sequence[tuple[float, ...]]) -> list[tuple[str, tuple[float, ...]]]:
    """Code points grouped with the neighbours they compose with, each group with its last time."""
    groups: list[tuple[str, tuple[float, ...]]] = []
    for character, time in zip(text, times, strict=True):
        if groups:
            before = groups[-1][0]
            if len(before) < _LONGEST_GROUP and composed(before + character) != composed(
                before
            ) + composed(character):
                groups[-1] = (before + character, time)
                continue
        groups.append((character, time))
    return groups
