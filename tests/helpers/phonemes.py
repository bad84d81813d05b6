"""The pronunciation of texts by espeak-ng, as phonemes."""

from __future__ import annotations

from collections.abc import Sequence

from echostream.voices.espeak import Espeak


def phonemes(texts: Sequence[str]) -> list[str]:
    """The phonemes of each French text in IPA, with liaisons."""
    return [Espeak().phonemes(text, "fr-fr") for text in texts]
