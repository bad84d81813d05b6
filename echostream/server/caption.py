"""The text of a stream as deltas: pieces that a client joins without adding spaces."""

from __future__ import annotations

from collections.abc import Sequence

from echostream.text.detokenizer import join_text


class Caption:
    """Turns successive words of one text into deltas; the space belongs to the delta."""

    def __init__(self, begun: bool = False) -> None:
        self.begun = begun  # whether there are words already

    def delta(self, words: Sequence[str], unit: str) -> str:
        """What to append for these words; empty for none. `unit` is word or char."""
        if not words:
            return ""
        if unit == "char":
            text = "".join(words)
        else:
            text = (" " if self.begun else "") + join_text(words, unit)
        self.begun = True
        return text
