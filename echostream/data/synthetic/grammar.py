"""A synchronous grammar: rules in a YAML file that derive French and English together.

The notation is explained at the head of `grammars/fr-en.yaml`.
"""

from __future__ import annotations

import random
import re
from bisect import bisect
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from echostream.data.synthetic.grammar_rules import (
    Alternative,
    Choice,
    GrammarError,
    Piece,
    Slot,
    check_rules,
    parse_rule,
)
from echostream.safe_yaml import YamlError, parse_yaml, read_text

_KNOWN_KEYS = frozenset(
    {"start", "tags", "english_words", "refuse", "french_spelling", "english_spelling", "rules"}
)
# An alternative that cannot derive two different copies, or a grammar with nearly all sentences
# outside `english_words`, must be an error and not an endless loop.
_MAX_TRIES = 100

_Spelling = tuple[tuple[re.Pattern[str], str], ...]


class Pair(NamedTuple):
    """A sentence and its translation: lower-case words separated by one space."""

    source: str
    target: str


class _Phrase(NamedTuple):
    source: str
    target: str
    tags: frozenset[str]


class Grammar:
    """Rules that rewrite to a French side and an English side with linked non-terminals.

    `rules`: the alternatives of every rule; `start`: the rule of a whole sentence; `english_words`:
    fewest and most words of an English sentence (others are drawn again, and so are those whose
    French matches one of `refuse`); the two spellings are replaced in the finished sentences, in
    order. Raises `GrammarError` naming the rule at fault.
    """

    def __init__(
        self,
        rules: dict[str, tuple[Alternative, ...]],
        start: str = "sentence",
        english_words: tuple[int, int] = (1, 1000),
        french_spelling: _Spelling = (),
        english_spelling: _Spelling = (),
        refuse: tuple[re.Pattern[str], ...] = (),
    ) -> None:
        check_rules(rules, start)
        self._rules = rules
        self._start = start
        self._shortest, self._longest = english_words
        self._french_spelling = french_spelling
        self._english_spelling = english_spelling
        self._refuse = refuse
        self._cumulative: dict[str, list[float]] = {}
        for name, alternatives in rules.items():
            total, sums = 0.0, []
            for alternative in alternatives:
                total += alternative.weight
                sums.append(total)
            if total == float("inf"):
                raise GrammarError(f"rule `{name}`: its weights are too large to be added.")
            self._cumulative[name] = sums

    @classmethod
    def load(cls, path: str | Path | None = None) -> Grammar:
        """The grammar of a YAML file; None is the French-English demo grammar.

        Raises `GrammarError` that names the file and the rule, `FileNotFoundError` without a file.
        """
        if path is None:
            source = resources.files("echostream.data.synthetic") / "grammars" / "fr-en.yaml"
            name, text = "fr-en.yaml", source.read_text(encoding="utf-8")
        else:
            name = str(path)
            try:
                text = read_text(path)
            except YamlError as error:
                raise GrammarError(str(error)) from None
        try:
            return cls.parse(text)
        except GrammarError as error:
            raise GrammarError(f"{name}: {error}") from None

    @classmethod
    def parse(cls, text: str) -> Grammar:
        """The grammar written in `text` (YAML). Raises `GrammarError`."""
        try:
            document = parse_yaml(text)
        except YamlError as error:
            raise GrammarError(str(error)) from None
        if not isinstance(document, dict) or not isinstance(document.get("rules"), dict):
            raise GrammarError("a grammar needs a mapping with a mapping `rules`.")
        if unknown := sorted(set(map(str, document)) - _KNOWN_KEYS):
            raise GrammarError(f"unknown key `{unknown[0]}`; allowed are {sorted(_KNOWN_KEYS)}.")
        for key, default in (("tags", ""), ("start", "sentence")):
            if not isinstance(document.get(key, default), str):
                raise GrammarError(f"`{key}` must be text.")
        tags = frozenset(document.get("tags", "").split())
        rules = {str(k): parse_rule(str(k), v, tags) for k, v in document["rules"].items()}
        return cls(
            rules,
            start=str(document.get("start", "sentence")),
            english_words=_read_bounds(document.get("english_words", [1, 1000])),
            french_spelling=_read_spelling("french_spelling", document),
            english_spelling=_read_spelling("english_spelling", document),
            refuse=_read_refuse(document),
        )

    @property
    def rules(self) -> dict[str, tuple[Alternative, ...]]:
        """The alternatives of every rule, by name."""
        return dict(self._rules)

    def sample(self, rng: random.Random) -> Pair:
        """One sentence pair; the same state of `rng` gives the same pair."""
        for _ in range(_MAX_TRIES):
            phrase = self._expand(self._start, frozenset(), rng)
            target = _respell(phrase.target, self._english_spelling)
            if not self._shortest <= target.count(" ") + 1 <= self._longest:
                continue
            source = _respell(phrase.source, self._french_spelling)
            if not any(pattern.search(source) for pattern in self._refuse):
                return Pair(source, target)
        raise GrammarError(
            f"rule `{self._start}`: {_MAX_TRIES} draws gave no sentence of {self._shortest} to "
            f"{self._longest} English words that is not refused."
        )

    def _expand(self, name: str, seen_tags: frozenset[str], rng: random.Random) -> _Phrase:
        sums = self._cumulative[name]
        # For the smallest floats, the product may be rounded up to the whole sum.
        index = min(bisect(sums, rng.random() * sums[-1]), len(sums) - 1)
        alternative = self._rules[name][index]
        tags = alternative.tags
        phrases: dict[str, _Phrase] = {}
        for slot in alternative.slots:
            env = seen_tags
            if slot.agrees_with:
                env = slot.passed_tags.union(*(phrases[key].tags for key in slot.agrees_with))
            elif slot.passed_tags:
                env = slot.passed_tags
            phrase = self._expand(slot.rule, env, rng)
            if slot.differs_from:
                phrase = self._redraw(name, slot, phrase, phrases, env, rng)
            phrases[slot.key] = phrase
            if slot.is_head:
                tags = tags | phrase.tags
        source = _write(name, alternative.source, False, phrases, seen_tags)
        return _Phrase(source, _write(name, alternative.target, True, phrases, seen_tags), tags)

    def _redraw(
        self,
        name: str,
        slot: Slot,
        phrase: _Phrase,
        phrases: dict[str, _Phrase],
        env: frozenset[str],
        rng: random.Random,
    ) -> _Phrase:
        taken = {phrases[key].source for key in slot.differs_from}
        for _ in range(_MAX_TRIES):
            if phrase.source not in taken:
                return phrase
            phrase = self._expand(slot.rule, env, rng)
        raise GrammarError(f"rule `{name}`: found no second `<{slot.rule}>` that differs.")


def _write(
    name: str,
    pieces: tuple[Piece, ...],
    english: bool,
    phrases: dict[str, _Phrase],
    seen_tags: frozenset[str],
) -> str:
    words = []
    for piece in pieces:
        if isinstance(piece, str):
            text = piece
        elif isinstance(piece, Choice):
            tags = phrases[piece.agrees_with].tags if piece.agrees_with else seen_tags
            text = _choose(name, piece, tags)
        else:
            phrase = phrases[piece.key]
            text = phrase.target if english else phrase.source
        if text:
            words.append(text)
    return " ".join(words)


def _choose(name: str, choice: Choice, tags: frozenset[str]) -> str:
    for condition, text in choice.options:
        if condition <= tags:
            return text
    raise GrammarError(
        f"rule `{name}`: no option of {{{choice.written}}} fits the tags {sorted(tags)}."
    )


def _respell(text: str, spelling: _Spelling) -> str:
    for pattern, replacement in spelling:
        text = pattern.sub(replacement, text)
    return text


def _read_bounds(value: object) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2 and all(type(v) is int for v in value):
        low, high = value
        if 1 <= low <= high:
            return low, high
    raise GrammarError(f"`english_words` must be [fewest, most], but is {_shown(value)} instead.")


def _shown(value: object) -> str:
    """A value for a message; a list may hold aliases that expand without end."""
    if isinstance(value, dict) or (
        isinstance(value, list)
        and (len(value) > 4 or any(isinstance(each, list | dict) for each in value))
    ):
        return f"a {type(value).__name__}"
    return repr(value)[:80]


def _read_refuse(document: dict[str, object]) -> tuple[re.Pattern[str], ...]:
    value = document.get("refuse", [])
    if not isinstance(value, list):
        raise GrammarError("`refuse` must be a list of patterns.")
    return tuple(_compile("refuse", pattern) for pattern in value)


def _compile(key: str, pattern: object) -> re.Pattern[str]:
    if not isinstance(pattern, str | int | float):
        raise GrammarError(f"`{key}`: a pattern must be text, but one is {_shown(pattern)}.")
    try:
        return re.compile(str(pattern))
    except (re.error, OverflowError, RecursionError) as error:
        shown = _shown(pattern)
        raise GrammarError(f"`{key}`: {shown} is no regular expression: {error}") from None


def _read_spelling(key: str, document: dict[str, object]) -> _Spelling:
    value = document.get(key, [])
    if not isinstance(value, list):
        raise GrammarError(f"`{key}` must be a list of [pattern, replacement].")
    spelling = []
    for entry in value:
        if not (isinstance(entry, list) and len(entry) == 2):
            raise GrammarError(
                f"`{key}` must be a list of [pattern, replacement], not {_shown(entry)}."
            )
        pattern, replacement = _compile(key, entry[0]), entry[1]
        if not isinstance(replacement, str | int | float):
            raise GrammarError(f"`{key}`: a replacement must be text, not {_shown(replacement)}.")
        try:
            pattern.sub(str(replacement), "")
        except (re.error, IndexError) as error:
            raise GrammarError(f"`{key}`: {_shown(replacement)} cannot replace: {error}") from None
        spelling.append((pattern, str(replacement)))
    return tuple(spelling)
