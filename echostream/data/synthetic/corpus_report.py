"""The report on a corpus: its size, and the share of test n-grams unseen in training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from echostream.data.synthetic.grammar import Pair

NGRAM_ORDERS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class LanguageReport:
    """Words of one side of a split.

    `unseen[n - 1]`: share of its n-grams (with repetition) that are not in the training sentences.
    """

    types: int
    tokens: int
    unseen: tuple[float, ...]


@dataclass(frozen=True)
class SplitReport:
    """One split: sentences, distinct sentences, seconds of audio, and both languages.

    `percentiles`: seconds of the 5th, 50th, 95th and 100th percentile of the recordings.
    """

    name: str
    sentences: int
    distinct: int
    seconds: float
    percentiles: tuple[float, ...]
    source: LanguageReport
    target: LanguageReport


@dataclass(frozen=True)
class CorpusReport:
    """All splits; `train_sentences` training sentences are the reference for unseen n-grams."""

    splits: tuple[SplitReport, ...]
    train_sentences: int

    def to_markdown(self) -> str:
        """The report as tables."""
        rows = [
            "# Corpus report",
            "",
            "| split | sentences | distinct | hours | seconds p5 / p50 / p95 / max "
            "| fr types / tokens | en types / tokens |",
            "|---|---|---|---|---|---|---|",
        ]
        for split in self.splits:
            lengths = " / ".join(f"{seconds:.1f}" for seconds in split.percentiles)
            rows.append(
                f"| {split.name} | {split.sentences} | {split.distinct} | "
                f"{split.seconds / 3600:.2f} | {lengths} | "
                f"{split.source.types} / {split.source.tokens} | "
                f"{split.target.types} / {split.target.tokens} |"
            )
        rows += [
            "",
            f"Share of n-grams that {self.train_sentences} training sentences do not hold:",
            "",
            "| split | language | " + " | ".join(f"{n}" for n in NGRAM_ORDERS) + " |",
            "|---" * (2 + len(NGRAM_ORDERS)) + "|",
        ]
        for split in self.splits:
            for language, report in (("fr", split.source), ("en", split.target)):
                shares = " | ".join(f"{100 * share:.1f} %" for share in report.unseen)
                rows.append(f"| {split.name} | {language} | {shares} |")
        return "\n".join(rows) + "\n"


def report_corpus(
    texts: Mapping[str, Sequence[Pair]],
    seconds: Mapping[str, Sequence[float]],
    train_texts: Sequence[Pair],
) -> CorpusReport:
    """The report on splits given as texts and seconds of audio by name.

    The shares are zero for the training split itself, where they have no meaning.
    """
    seen = [_collect(pair[side] for pair in train_texts) for side in (0, 1)]
    splits = []
    for name, pairs in texts.items():
        lengths = seconds[name]
        languages = [
            _report_language([pair[side] for pair in pairs], set() if name == "train" else grams)
            for side, grams in enumerate(seen)
        ]
        splits.append(
            SplitReport(
                name=name,
                sentences=len(pairs),
                distinct=len({pair.source for pair in pairs}),
                seconds=float(sum(lengths)),
                percentiles=tuple(map(float, np.percentile(lengths, [5, 50, 95, 100]))),
                source=languages[0],
                target=languages[1],
            )
        )
    return CorpusReport(tuple(splits), len(train_texts))


def ngrams(sentence: str, order: int) -> Iterator[tuple[str, ...]]:
    """The n-grams of `order` words of a sentence."""
    words = sentence.split()
    return zip(*(words[start:] for start in range(order)), strict=False)


def _collect(sentences: Iterable[str]) -> set[tuple[str, ...]]:
    texts = list(sentences)
    return {gram for text in texts for order in NGRAM_ORDERS for gram in ngrams(text, order)}


def _report_language(sentences: Sequence[str], seen: set[tuple[str, ...]]) -> LanguageReport:
    words = list(chain.from_iterable(sentence.split() for sentence in sentences))
    unseen = []
    for order in NGRAM_ORDERS:
        found = [gram for sentence in sentences for gram in ngrams(sentence, order)]
        new = sum(gram not in seen for gram in found) if seen else 0
        unseen.append(new / len(found) if found else 0.0)
    return LanguageReport(len(set(words)), len(words), tuple(unseen))
