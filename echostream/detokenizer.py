"""Words from ids that arrive a few at a time.

SimulEval joins what an agent writes with spaces, so a word goes out whole or not at all, and it is
known to be whole only when the next one begins or the source has ended. Where every piece of the
vocabulary is a whole word there is nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Iterable

from echostream.tokenizer import Tokenizer


def assemble(
    tokenizer: Tokenizer, ids: Iterable[int], unfinished: str = ""
) -> tuple[list[str], str]:
    """The words that new ids complete, and the letters of the one that may still grow.

    `unfinished` is what the call before returned second; after the last ids it is the last word,
    or "". However the ids are cut into calls, the words are `decode(all ids).split()`.
    """
    text = unfinished + "".join(tokenizer.surface(index) for index in ids)
    words = text.split()
    if words and not text[-1].isspace() and not tokenizer.has_only_words:
        return words[:-1], words[-1]
    return words, ""


class WordAssembler:
    """The words of one stream of ids; it remembers the unfinished one between pushes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._unfinished = ""

    def push(self, ids: Iterable[int]) -> list[str]:
        """The words that are certain now."""
        words, self._unfinished = assemble(self._tokenizer, ids, self._unfinished)
        return words

    def finish(self) -> list[str]:
        """The word held back, if there is one; what is pushed next begins another text."""
        words, self._unfinished = self._unfinished.split(), ""
        return words
