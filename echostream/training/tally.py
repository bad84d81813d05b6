"""The count of utterances that cannot be used, logged once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass
class Tally:
    """Unusable utterances of one block, or of the dev set, with the first of each kind.

    A block may be larger than a table, so that an utterance comes several times: it counts once.
    """

    name: str
    # Keys only: the id of each utterance, or the error of its recording, in order.
    seen: dict[str, None] = field(default_factory=dict)
    short: dict[str, None] = field(default_factory=dict)
    unreadable: dict[str, None] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Counts an utterance whose recording can be read."""
        self.seen[name] = None

    def add_short(self, name: str) -> None:
        """Counts an utterance with fewer encoder frames than its text needs."""
        self.short[name] = None

    def add_unreadable(self, reason: str) -> None:
        """Counts an utterance whose recording cannot be read; `reason` names its line."""
        self.seen[reason] = self.unreadable[reason] = None

    def __str__(self) -> str:
        parts = []
        if self.short:
            parts.append(
                f"{len(self.short)} of {len(self.seen)} utterances are too short for their own "
                "text (there must be two encoder frames, 80 ms, for every piece) and are left out, "
                f"the first is {next(iter(self.short))}"
            )
        if self.unreadable:
            parts.append(
                f"{len(self.unreadable)} of {len(self.seen)} utterances have a recording that "
                f"cannot be read and are left out, the first: {next(iter(self.unreadable))}"
            )
        return "; ".join(parts)

    def log(self) -> None:
        """Logs one warning, if there are unusable utterances."""
        if text := str(self):
            logger.warning("%s: %s.", self.name, text.removesuffix("."))
