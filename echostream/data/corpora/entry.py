"""What every reader of a corpus yields: utterances, and what it had to leave out.

The readers are plain code, not lhotse's recipes: of the layouts here lhotse 1.33 has no recipe for
CVSS-C, CoVoST 2, Europarl-ST and Mboshi; its recipe of MuST-C keeps the translation only, those of
mTEDx and FLEURS the transcript only; and that of LibriSpeech ends at the first damaged file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from echostream.data.table_text import TableError, TextNotes, lines_of
from echostream.frontend.audio_segment import Segment

SPLITS = ("train", "dev", "test")


class CorpusError(ValueError):
    """A corpus that is not laid out as it should be; the message names the file or folder."""


class Entry(NamedTuple):
    """An utterance of a corpus as it was downloaded; `split` is train, dev, test or another."""

    split: str
    id: str
    audio: Path
    source: str | None
    target: str | None
    segment: Segment | None = None
    speaker: str = ""
    language: str = ""
    target_audio: Path | None = None
    word_ends: tuple[float, ...] = ()


class LeftOut(NamedTuple):
    """What a reader cannot use: the reason, the same words for all of its kind, and which."""

    split: str
    reason: str
    name: str


@dataclass(frozen=True)
class Options:
    """The folder of a corpus, and what some layouts need besides."""

    source: Path
    languages: tuple[str, str] | None = None  # source and target
    common_voice: Path | None = None  # the folder of the language
    covost: Path | None = None  # covost_v2.<source>_<target>.tsv
    held_out: int = 200  # training utterances for selection
    seed: int = 1


class Layout(Protocol):
    """Reads a corpus from the files that are downloaded."""

    def __call__(self, options: Options) -> Iterator[Entry | LeftOut]:
        """The utterances in order, lazily.

        Raises CorpusError or TableError naming the file, if the layout is another.
        """


def languages_of(options: Options) -> tuple[str, str]:
    """The languages that were given, or those in the name of the folder, as in `fr-en`.

    Raises CorpusError if neither has them.
    """
    if options.languages is not None:
        return options.languages
    source, hyphen, target = options.source.resolve().name.partition("-")
    if not (source and hyphen and target):
        raise CorpusError(
            f"{options.source} must be a folder named after its languages, as fr-en; or give "
            "`--languages fr en`."
        )
    return source, target


def splits_in(folder: Path, names: dict[str, str]) -> dict[str, Path]:
    """The folders or files of the splits that are there, by ours; `names` has theirs.

    Raises CorpusError if there are none.
    """
    found = {ours: folder / theirs for ours, theirs in names.items() if (folder / theirs).exists()}
    if not found:
        listed = ", ".join(names.values())
        raise CorpusError(f"{folder} must hold {listed}, or some of them, but holds none.")
    return found


def text_lines(path: Path) -> list[str]:
    """The lines of a text file, which end with a newline only, not at U+2028 or U+0085.

    Raises TableError for text that is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise TableError(f"{path} must be UTF-8, but is not: {error.reason}.") from error


def tsv_rows(path: Path, columns: tuple[str, ...] = ()) -> Iterator[dict[str, str] | None]:
    """The rows of a table without quoting; None for one of another number of fields.

    Without `columns` the first line names them. Backslashes before quotation marks are escapes.

    Raises CorpusError if there is no such file, and TableError for text that is not UTF-8.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: there is no such file.")
    with path.open("rb") as file:
        lines = lines_of(file, path)
        names = columns or tuple(next(lines, (0, ""))[1].split("\t"))
        notes = TextNotes()
        for number, line in lines:
            fields = line.split("\t")
            if len(fields) != len(names):
                yield None
            else:
                yield {
                    name: notes.read(field, number)
                    for name, field in zip(names, fields, strict=True)
                }
        notes.log(path)


def check_columns(path: Path, row: dict[str, str], needed: tuple[str, ...]) -> None:
    """Raises CorpusError if a row of a table lacks a column."""
    if missing := [name for name in needed if name not in row]:
        raise CorpusError(f"{path}: the column `{missing[0]}` is missing; found {list(row)}.")
