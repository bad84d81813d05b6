"""Sentence pairs on disk: a list as it is downloaded, and the tables that are made of it."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from echostream.data.sentences.cleaning import KEY, SentenceLimits, clean_sentence, unsuitable
from echostream.data.sentences.split import SentencePair, SentenceSplit, split_sentences
from echostream.data.table_text import TableError, TextNotes, fields_of, lines_of
from echostream.files import locked, make_folder, remove_unfinished, write_whole

COLUMNS = ("id", "src_text", "tgt_text")
REPORT = "report.md"


@dataclass(frozen=True)
class SentenceSettings:
    """How a list of pairs is read; columns are counted from 1."""

    languages: tuple[str, str] = ("fr", "en")
    columns: tuple[int, int] = (2, 1)  # of the source and the target text
    limits: SentenceLimits = field(default_factory=SentenceLimits)
    seed: int = 1


def prepare_sentences(
    path: Path, output: Path, sizes: Mapping[str, int], settings: SentenceSettings
) -> str:
    """Writes `train.tsv` and a table for each of the `sizes`, `report.md`, and returns the report.

    `path` is a text file of a pair a line, separated by a tab, or a zip with one: the lists of
    Tatoeba's sentences at manythings.org, English first.

    Raises TableError naming the file and the line, and ValueError for too few sentences.
    """
    counts: Counter[str] = Counter()
    pairs = list(_read_pairs(path, settings, counts))
    found = split_sentences(pairs, sizes, settings.seed)
    folder = make_folder(output)
    with locked(folder):
        remove_unfinished(folder)
        for name, members in found.sets.items():
            lines = ["\t".join(COLUMNS), *("\t".join(pair) for pair in members)]
            write_whole(folder / f"{name}.tsv", "".join(f"{line}\n" for line in lines))
        report = _report(path, settings, counts, found)
        write_whole(folder / REPORT, report)
    return report


def read_sentences(path: Path) -> list[SentencePair]:
    """The pairs of a table with the columns `id`, `src_text` and `tgt_text`, in order.

    Raises TableError naming the line.
    """
    with path.open("rb") as file:
        lines = lines_of(file, path)
        header = next(lines, (1, ""))[1].split("\t")
        if missing := [name for name in COLUMNS if name not in header]:
            raise TableError(f"{path}: the column `{missing[0]}` is missing; found {header}.")
        notes = TextNotes()
        pairs = [
            SentencePair(
                fields["id"],
                notes.read(fields["src_text"], number),
                notes.read(fields["tgt_text"], number),
            )
            for number, fields in fields_of(lines, path, header, COLUMNS)
        ]
        notes.log(path)
    if not pairs:
        raise TableError(f"{path}: the table has a header but no lines.")
    return pairs


def _read_pairs(
    path: Path, settings: SentenceSettings, counts: Counter[str]
) -> Iterator[SentencePair]:
    source, target = (column - 1 for column in settings.columns)
    with _opened(path) as (file, stem):
        for number, line in lines_of(file, path):
            counts["lines"] += 1
            fields = line.split("\t")
            if len(fields) <= max(source, target):
                raise TableError(
                    f"{path}, line {number}: column {max(source, target) + 1} is wanted, but it "
                    f"has {len(fields)}."
                )
            texts = [
                clean_sentence(fields[column], language)
                for column, language in zip((source, target), settings.languages, strict=True)
            ]
            reasons = [reason for text in texts if (reason := unsuitable(text, settings.limits))]
            if reasons:
                counts[reasons[0]] += 1
            else:
                yield SentencePair(f"{stem}-{number}", *texts)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """The list and the stem of its name, from a zip also."""
    if not path.is_file():
        raise TableError(f"{path}: there is no such file.")
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            yield file, path.stem
        return
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not Path(name).name.startswith("_")]
        lists = [name for name in names if name.endswith((".txt", ".tsv"))]
        if len(lists) != 1:
            raise TableError(f"{path} must hold one list of pairs, but holds {names[:5]}.")
        with archive.open(lists[0]) as member:
            yield io.BytesIO(member.read()), Path(lists[0]).stem


def _report(
    path: Path, settings: SentenceSettings, counts: Counter[str], found: SentenceSplit
) -> str:
    source, target = settings.languages
    rows = [
        f"# Sentences of {path.name}",
        "",
        f"| set | pairs | words {source} | words {target} | types {source} | types {target} |",
        "|---|---|---|---|---|---|",
    ]
    for name, members in found.sets.items():
        words = [_words([pair[side] for pair in members]) for side in (1, 2)]
        sizes = " | ".join(f"{sum(each.values())}" for each in words)
        types = " | ".join(f"{len(each)}" for each in words)
        rows.append(f"| {name} | {len(members)} | {sizes} | {types} |")
    rows += ["", f"Of {counts.pop('lines')} lines these were left out:", ""]
    left_out = counts + found.left_out
    rows += [f"- {number}: {reason}" for reason, number in left_out.most_common()]
    return "\n".join(rows) + "\n"


def _words(texts: Sequence[str]) -> Counter[str]:
    return Counter(word for text in texts for word in KEY(text).split())
