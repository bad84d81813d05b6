"""The files of downloaded corpora: folders of splits, texts of a line an utterance, tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from echostream.data.corpora.entry import CorpusError, Options
from echostream.data.table_text import TableError, TextNotes, lines_of


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

    Raises CorpusError if there is no such file, and TableError for text that is not UTF-8.
    """
    check_file(path)
    try:
        return path.read_bytes().decode("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise TableError(f"{path} must be UTF-8, but is not: {error.reason}.") from error


def check_file(path: Path) -> None:
    """Raises CorpusError if there is no such file."""
    if not path.is_file():
        raise CorpusError(f"{path}: there is no such file.")


def tsv_rows(path: Path, columns: tuple[str, ...] = ()) -> Iterator[dict[str, str] | None]:
    """The rows of a table without quoting; None for one of another number of fields.

    Without `columns` the first line names them. Backslashes before quotation marks are escapes.

    Raises CorpusError if there is no such file, and TableError for text that is not UTF-8.
    """
    check_file(path)
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
