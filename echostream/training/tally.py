"""What of some utterances cannot be used, counted and said once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass
class Tally:
    """Counts of one block, or of the dev set; the first of a kind stands for all of them."""

    name: str
    num_utterances: int = 0
    num_short: int = 0
    first_short: str = ""
    unreadable: list[str] = field(default_factory=list)

    def add_short(self, name: str) -> None:
        """An utterance has fewer encoder frames than its text needs."""
        self.num_short += 1
        self.first_short = self.first_short or name

    def add_unreadable(self, reason: str) -> None:
        """A recording cannot be read."""
        self.unreadable.append(reason)

    def __str__(self) -> str:
        parts = []
        if self.num_short:
            parts.append(
                f"{self.num_short} of {self.num_utterances} utterances are too short for their own "
                "text (there must be two encoder frames, 80 ms, for every piece) and are left out, "
                f"the first is {self.first_short}"
            )
        if self.unreadable:
            parts.append(
                f"{len(self.unreadable)} of {self.num_utterances} recordings cannot be read and "
                f"are left out, the first: {self.unreadable[0]}"
            )
        return "; ".join(parts)

    def say(self) -> None:
        """One warning in the log, if there is anything to say."""
        if text := str(self):
            logger.warning("%s: %s.", self.name, text.removesuffix("."))
