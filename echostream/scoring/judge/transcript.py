"""What a judge returns for a recording, and loops in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

# A phrase of up to `_LONGEST_PHRASE` words that is there so often in a row was not spoken.
_LONGEST_PHRASE = 8
_MOST_REPEATS = 3


class JudgeError(ValueError):
    """A judge that cannot be made or used; the message names it and the reason."""


class MiscountError(JudgeError):
    """A judge gave too few or too many transcripts: none need be that of its recording."""


class Word(NamedTuple):
    """A word of a transcript and its times from the beginning of the recording, in s."""

    text: str
    start: float
    end: float


class Transcript(NamedTuple):
    """What a judge found in one recording."""

    text: str
    words: tuple[Word, ...] | None = None  # None if the judge gives no times
    looped: bool = False  # it repeats itself, or was stopped at its longest


class Judge(Protocol):
    """A recogniser of one language."""

    @property
    def name(self) -> str:
        """Names the judge and all that its transcripts depend on."""

    @property
    def has_word_times(self) -> bool:
        """`Transcript.words` are there."""

    def transcribe(self, paths: Sequence[Path]) -> Iterator[Transcript]:
        """The transcripts of recordings, one by one. Raises JudgeError if it fails."""


def is_loop(text: str) -> bool:
    """A phrase of one to eight words, or of letters in one word, is repeated over three times."""
    words = text.lower().split()
    return _repeats(words) or any(_repeats(list(word)) for word in words)


def _repeats(items: Sequence[str]) -> bool:
    for length in range(1, _LONGEST_PHRASE + 1):
        run = 0  # of items that are those `length` places before
        for before, item in zip(items, items[length:], strict=False):
            run = run + 1 if item == before else 0
            if run >= _MOST_REPEATS * length:
                return True
    return False
