"""Choice and split of sentence pairs: nothing of the dev and test sets is in training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from echostream.data.sentences.cleaning import KEY


class SentencePair(NamedTuple):
    """A sentence and its translation; `id` is unique in its file."""

    id: str
    source: str
    target: str


@dataclass(frozen=True)
class SentenceSplit:
    """The pairs of each set, and how many were kept out of training, by the reason."""

    sets: Mapping[str, list[SentencePair]]
    left_out: Counter[str]


class _Candidate(NamedTuple):
    """A source sentence: the pair chosen for it, and all of its translations, as keys."""

    key: str
    pair: SentencePair
    translations: frozenset[str]


def split_sentences(
    pairs: Iterable[SentencePair], sizes: Mapping[str, int], seed: int
) -> SentenceSplit:
    """Sets of the `sizes` by name, and `train` with the rest that shares no sentence with them.

    Sentences are the same if they are so in lower case without punctuation. Each source sentence
    comes once: of its translations the one that most source sentences share is chosen, and of
    equal ones the first. A pair is kept out of training if its translation is one of any sentence
    of a set; the sets share no translation with each other, nor do two sentences of a set. Which
    sentences a set has depends on the seed and their texts, not on their order.

    Raises ValueError if there are not enough sentences.
    """
    candidates, left_out = _choose(pairs)
    order = sorted(candidates, key=lambda candidate: _rank(seed, candidate.key))
    sets: dict[str, list[SentencePair]] = {}
    used: set[str] = set()
    for name, size in sizes.items():
        members: list[_Candidate] = []
        for candidate in order:
            if len(members) == size:
                break
            if used.isdisjoint(candidate.translations):
                members.append(candidate)
                used |= candidate.translations
        if len(members) < size:
            raise ValueError(
                f"{size} sentences are wanted for {name}, but only {len(members)} share no "
                "translation with each other and with the other sets."
            )
        sets[name] = [member.pair for member in members]
    held_out = {pair.id for members in sets.values() for pair in members}
    train = []
    for candidate in candidates:
        if candidate.pair.id in held_out:
            continue
        if KEY(candidate.pair.target) in used:
            left_out["a translation of a held-out sentence"] += 1
        else:
            train.append(candidate.pair)
    if not train:
        raise ValueError("no sentence is left for training.")
    return SentenceSplit({"train": train, **sets}, left_out)


def _choose(pairs: Iterable[SentencePair]) -> tuple[list[_Candidate], Counter[str]]:
    """One pair for each source sentence, in order, and the number of those that were not chosen."""
    by_source: dict[str, dict[str, SentencePair]] = {}
    shared: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for pair in pairs:
        translations = by_source.setdefault(KEY(pair.source), {})
        target = KEY(pair.target)
        if target in translations:
            left_out["the same pair again"] += 1
        else:
            translations[target] = pair
            shared[target] += 1
    candidates = []
    for source, translations in by_source.items():
        best = max(translations, key=lambda target: shared[target])  # of equal ones the first
        candidates.append(_Candidate(source, translations[best], frozenset(translations)))
        left_out["another translation of the same sentence"] += len(translations) - 1
    return candidates, left_out


def _rank(seed: int, key: str) -> bytes:
    return hashlib.blake2b(f"{seed} {key}".encode(), digest_size=16).digest()
