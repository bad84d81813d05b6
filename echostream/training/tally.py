"""The count of utterances that cannot be used, logged once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass
class Tally:
    """Unusable utterances of one block, or of the dev set, with the first of each kind."""

    name: str
    num_utterances: int = 0
    num_short: int = 0
    first_short: str = ""
    unreadable: list[str] = field(default_factory=list)

    def add_short(self, name: str) -> None:
        """Counts an utterance with fewer encoder frames than its text needs."""
        self.num_short += 1
        self.first_short = self.first_short or name

    def add_unreadable(self, reason: str) -> None:
        """Counts a recording that cannot be read."""
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

    def log(self) -> None:
        """Logs one warning, if there are unusable utterances."""
        if text := str(self):
            logger.warning("%s: %s.", self.name, text.removesuffix("."))
