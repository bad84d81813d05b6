"""Normalisation of text before training and scoring: a choice that is named and recorded."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import yaml

from echostream.config import ConfigError, load_config, to_dict
from echostream.files import write_whole

FILE = "text.yaml"
CHOICES = {
    "case": ("keep", "lower"),
    "punctuation": ("keep", "drop"),
    "apostrophes": ("keep", "straight", "drop"),
    "unicode": ("NFC",),
}
_APOSTROPHES = re.compile("['\u2018\u2019\u02bc\u02b9\u00b4`\uff07]")
# Within a word these join its parts, as in "l'eau" and "celui-ci"; elsewhere they are punctuation.
_JOINING = "'\u2019\u02bc\u2010\u2011-"


@dataclass(frozen=True)
class TextNormalization:
    """How the texts of a corpus are normalised; the same for training and for scoring.

    Punctuation that is dropped becomes a space, but apostrophes and hyphens within a word stay.
    Dropped apostrophes leave nothing behind ("l'eau" becomes "leau"), as in StreamSpeech's
    preparation.
    """

    case: str = "keep"  # or lower
    punctuation: str = "keep"  # or drop
    apostrophes: str = "keep"  # or straight: all forms become '; or drop
    unicode: str = "NFC"

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if (value := getattr(self, name)) not in allowed:
                raise ConfigError(
                    f"`{name}` must be one of {', '.join(allowed)}, but is {value[:80]!r} instead."
                )

    def __call__(self, text: str) -> str:
        """The normalised text, with single spaces between words."""
        text = unicodedata.normalize("NFC", text)
        if self.apostrophes != "keep":
            text = _APOSTROPHES.sub("'" if self.apostrophes == "straight" else "", text)
        if self.punctuation == "drop":
            text = _without_punctuation(text)
        if self.case == "lower":
            text = unicodedata.normalize("NFC", text.lower())
        return " ".join(text.split())

    def save(self, folder: Path) -> None:
        """Writes `text.yaml` into a folder."""
        write_whole(folder / FILE, yaml.safe_dump(to_dict(self), sort_keys=False))


def load_normalization(folder: Path) -> TextNormalization | None:
    """The normalisation recorded in a folder; None if there is none.

    Raises ConfigError naming the file and the key.
    """
    path = folder / FILE
    return load_config(TextNormalization, path) if path.is_file() else None


def _without_punctuation(text: str) -> str:
    kinds = f" {''.join(unicodedata.category(letter)[0] for letter in text)} "
    letters = []
    for letter, before, kind, after in zip(text, kinds, kinds[1:], kinds[2:], strict=False):
        is_joining = letter in _JOINING and before in "LMN" and after in "LMN"
        letters.append(" " if kind in "PS" and not is_joining else letter)
    return "".join(letters)
