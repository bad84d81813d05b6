"""Which utterances of a corpus are not worth training on: too short, too long, absurd rates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The lengths in seconds, and the characters of text a second, that are taken for possible.

    Speech has 10 to 20 characters a second in alphabets, and 4 to 8 in Chinese.
    """

    min_seconds: float = 0.1
    max_seconds: float = 30.0
    min_rate: float = 0.2
    max_rate: float = 40.0

    def fault(self, seconds: float, *texts: str | None) -> tuple[str, str] | None:
        """The kind of fault of an utterance, and its figure; None if there is none."""
        if seconds < self.min_seconds:
            return f"shorter than {self.min_seconds:g} s", f"{seconds:.3f} s"
        if seconds > self.max_seconds:
            return f"longer than {self.max_seconds:g} s", f"{seconds:.1f} s"
        for text in texts:
            if text is None:
                continue
            rate = len(text) / seconds
            figure = f"{len(text)} characters in {seconds:.2f} s"
            if rate > self.max_rate:
                return f"more than {self.max_rate:g} characters a second", figure
            if rate < self.min_rate:
                return f"fewer than {self.min_rate:g} characters a second", figure
        return None
