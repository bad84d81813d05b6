"""The lines of a grammar file: how a rule is read and checked (notation: `grammars/fr-en.yaml`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

_PIECE = re.compile(r"<[^<>]*>|\{[^{}]*\}|[^<{]+|.")
_SLOT = re.compile(r"(?P<rule>[a-z][a-z_]*)(?P<copy>[0-9]?)(?P<head>!?)(?:@(?P<tags>[a-z0-9_,]+))?")
_RULE_NAME = re.compile(r"[a-z][a-z_]*")
_EMPTY = "-"
# Far beyond any grammar of sentences, and fast to draw.
_MAX_DEPTH, _MAX_SIZE = 100, 10_000


class GrammarError(ValueError):
    """A mistake in a grammar file; the message names the rule."""


@dataclass(frozen=True)
class Choice:
    """Text that depends on tags: the first option whose tags are all there is written.

    The tags are those of the slot `agrees_with`, or those the rule was given when it is empty.
    """

    options: tuple[tuple[frozenset[str], str], ...]
    agrees_with: str
    written: str


@dataclass(frozen=True)
class Slot:
    """A non-terminal of an alternative, the same on the French and on the English side."""

    key: str
    rule: str
    is_head: bool = False
    passed_tags: frozenset[str] = frozenset()
    agrees_with: tuple[str, ...] = ()
    differs_from: tuple[str, ...] = ()


Piece = str | Choice | Slot


@dataclass(frozen=True)
class Alternative:
    """One line of a rule: both sides, the slots in the order they must be drawn, tags, weight."""

    source: tuple[Piece, ...]
    target: tuple[Piece, ...]
    slots: tuple[Slot, ...]
    tags: frozenset[str]
    weight: float


def parse_rule(name: str, text: object, tags: frozenset[str]) -> tuple[Alternative, ...]:
    """The alternatives of a rule, a line each. `tags`: the declared tags. Raises `GrammarError`."""
    if not _RULE_NAME.fullmatch(name):
        raise GrammarError(f"rule `{name}`: a rule name is made of a-z and _ only.")
    if not isinstance(text, str):
        raise GrammarError(f"rule `{name}`: must be a block of lines (`{name}: |`).")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise GrammarError(f"rule `{name}`: has no alternative.")
    alternatives = []
    for line in lines:
        try:
            alternatives.append(_parse_line(line, tags))
        except GrammarError as error:
            raise GrammarError(f"rule `{name}`, line `{line}`: {error}") from None
    return tuple(alternatives)


def check_rules(rules: Mapping[str, tuple[Alternative, ...]], start: str) -> None:
    """Raises `GrammarError` for an unknown, unreachable or endlessly recursive rule.

    Also for rules nested too deeply, or that can make a sentence too long to be drawn.
    """
    if start not in rules:
        raise GrammarError(f"rule `{start}`, where sentences start, is missing.")
    for name, alternatives in rules.items():
        for slot in (slot for alternative in alternatives for slot in alternative.slots):
            if slot.rule not in rules:
                raise GrammarError(f"rule `{name}`: unknown symbol `<{slot.rule}>`.")
    for name, alternatives in rules.items():
        for alternative in alternatives:
            _check_both_sides(name, alternative, rules)
    most: dict[str, int] = {}
    _visit(start, rules, {}, most)
    if unreachable := [name for name in rules if name not in most]:
        raise GrammarError(f"rule `{unreachable[0]}`: cannot be reached from `{start}`.")


def _check_both_sides(
    name: str, alternative: Alternative, rules: Mapping[str, tuple[Alternative, ...]]
) -> None:
    for slot in alternative.slots:
        for side in ("source", "target"):
            here = any(
                isinstance(p, Slot) and p.key == slot.key for p in getattr(alternative, side)
            )
            if not here and any(getattr(line, side) for line in rules[slot.rule]):
                raise GrammarError(
                    f"rule `{name}`: `<{slot.key}>` stands on one side only, and the other side of "
                    f"`{slot.rule}` is not empty (`-`)."
                )


def _visit(
    name: str,
    rules: Mapping[str, tuple[Alternative, ...]],
    path: dict[str, None],
    most: dict[str, int],
) -> int:
    """The most rules that a phrase of rule `name` may be made of; `path` leads to it, in order."""
    if name in path:
        names = list(path)
        loop = names[names.index(name) :]
        shown = [*loop[:6], "..."] if len(loop) > 6 else loop
        raise GrammarError(f"rule `{name}`: endless recursion ({' -> '.join([*shown, name])}).")
    if name in most:
        return most[name]
    if len(path) >= _MAX_DEPTH:
        raise GrammarError(f"rule `{name}`: more than {_MAX_DEPTH} rules are nested.")
    path[name] = None
    size = 1 + max(
        sum(_visit(slot.rule, rules, path, most) for slot in alternative.slots)
        for alternative in rules[name]
    )
    if size > _MAX_SIZE:
        raise GrammarError(f"rule `{name}`: a phrase may be made of more than {_MAX_SIZE} rules.")
    del path[name]
    most[name] = size
    return size


def _parse_line(line: str, tags: frozenset[str]) -> Alternative:
    sides = line.split("=>")
    if len(sides) != 2:
        raise GrammarError("must be `French => English`, with one `=>`.")
    english, own_tags, weight = _split_notes(sides[1], tags)
    french = sides[0].strip()
    if not french or not english:
        raise GrammarError("one side is missing (an empty side is written `-`).")
    source, target = _parse_side(french, tags), _parse_side(english, tags)
    # A name after `@` is a slot or a tag, which shows only when the slots of both sides are known.
    keys = {piece.key for piece in source + target if isinstance(piece, Slot)}
    source = tuple(_resolve(piece, keys, tags) for piece in source)
    target = tuple(_resolve(piece, keys, tags) for piece in target)
    return Alternative(source, target, _link(source, target), own_tags, weight)


def _split_notes(text: str, tags: frozenset[str]) -> tuple[str, frozenset[str], float]:
    words, own_tags, weight = text.split(), set(), 1.0
    while words and words[-1][0] in "#~":
        note = words.pop()
        if note[0] == "#":
            own_tags.add(_known(note[1:], tags))
        else:
            try:
                weight = float(note[1:])
            except ValueError:
                weight = -1.0
            if not 0 < weight < float("inf"):
                raise GrammarError(f"a weight must be a positive number, but is `{note[1:]}`.")
    return " ".join(words), frozenset(own_tags), weight


def _known(tag: str, tags: frozenset[str]) -> str:
    if tag not in tags:
        raise GrammarError(f"unknown tag `{tag}`; declare it in `tags`.")
    return tag


def _parse_side(text: str, tags: frozenset[str]) -> tuple[Piece, ...]:
    if text == _EMPTY:
        return ()
    pieces: list[Piece] = []
    for written in _PIECE.findall(text):
        if written[0] == "<" and len(written) > 1:
            pieces.append(_parse_slot(written[1:-1]))
        elif written[0] == "{" and len(written) > 1:
            pieces.append(_parse_choice(written[1:-1], tags))
        elif any(sign in written for sign in "<>{}|#~@"):
            raise GrammarError(f"cannot read `{written.strip()}`.")
        elif written.strip():
            pieces.append(" ".join(written.split()))
    return tuple(pieces)


def _parse_slot(text: str) -> Slot:
    match = _SLOT.fullmatch(text)
    if match is None:
        raise GrammarError(f"cannot read `<{text}>`.")
    return Slot(
        key=match["rule"] + match["copy"],
        rule=match["rule"],
        is_head=bool(match["head"]),
        passed_tags=frozenset((match["tags"] or "").split(",")) - {""},
    )


def _parse_choice(text: str, tags: frozenset[str]) -> Choice:
    written, agrees_with = text, ""
    if text.startswith("@"):
        agrees_with, _, text = text[1:].partition(" ")
    options = []
    for option in text.split("|"):
        condition, colon, chosen = option.partition(":")
        if not colon:
            raise GrammarError(f"option `{option.strip()}` of {{{written}}} must be `tag:text`.")
        names = [] if condition.strip() == "*" else condition.strip().split("+")
        options.append((frozenset(_known(n, tags) for n in names), " ".join(chosen.split())))
    return Choice(tuple(options), agrees_with, written)


def _resolve(piece: Piece, keys: set[str], tags: frozenset[str]) -> Piece:
    if isinstance(piece, Choice) and piece.agrees_with and piece.agrees_with not in keys:
        raise GrammarError(f"{{{piece.written}}} agrees with `<{piece.agrees_with}>`: not there.")
    if not isinstance(piece, Slot):
        return piece
    agrees_with = tuple(sorted(piece.passed_tags & keys))
    literal = frozenset(_known(tag, tags) for tag in piece.passed_tags - keys)
    return replace(piece, passed_tags=literal, agrees_with=agrees_with)


def _link(source: tuple[Piece, ...], target: tuple[Piece, ...]) -> tuple[Slot, ...]:
    french = [piece for piece in source if isinstance(piece, Slot)]
    english = [piece for piece in target if isinstance(piece, Slot)]
    for keys in ([slot.key for slot in french], [slot.key for slot in english]):
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise GrammarError(f"`<{twice[0]}>` stands twice; number them `<{twice[0]}1>`...")
    linked = {slot.key: slot for slot in french}
    for slot in english:
        if slot.key in linked and (slot.is_head or slot.passed_tags or slot.agrees_with):
            raise GrammarError(f"`<{slot.key}...>`: `!` and `@` belong on the French side.")
        linked.setdefault(slot.key, slot)
    ordered: dict[str, Slot] = {}
    while len(ordered) < len(linked):
        ready = [s for s in linked.values() if s.key not in ordered]
        ready = [s for s in ready if ordered.keys() >= set(s.agrees_with)]
        if not ready:
            stuck = next(key for key in linked if key not in ordered)
            raise GrammarError(f"`<{stuck}>` agrees with itself in a circle.")
        slot = ready[0]
        if slot.key != slot.rule:
            copies = tuple(key for key, other in ordered.items() if other.rule == slot.rule)
            slot = replace(slot, differs_from=copies)
        ordered[slot.key] = slot
    return tuple(ordered.values())
