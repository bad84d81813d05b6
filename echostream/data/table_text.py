"""The text of a table: decoding of its lines, normalisation of its sentences."""

from __future__ import annotations

import codecs
import logging
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)

_LONGEST_LINE = 1 << 24  # bytes
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # also of UTF-32, or it begins with NUL
_ESCAPED = re.compile(r'\\(["\\])')


class TableError(ValueError):
    """A table that cannot be used; the message names the file and the line."""


def lines_of(file: BinaryIO, path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a table that are not blank, with their numbers, without line ends.

    Raises `TableError` for text that is not UTF-8, for NUL, and for a line of more than 16 MiB.
    """
    number = 0
    while raw := file.readline(_LONGEST_LINE + 1):
        if not number:
            if raw.startswith(_UTF16):
                raise TableError(f"{path} must be UTF-8, but looks like UTF-16; convert it first.")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) > _LONGEST_LINE:
            raise TableError(f"{path}, line {number + 1}: it is longer than 16 MiB.")
        if b"\0" in raw:
            raise TableError(f"{path}, line {number + 1}: it holds NUL, so the file is no text.")
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise TableError(
                f"{path}, line {number + 1}: it is not UTF-8 (byte {raw[error.start]:#04x} at "
                f"{error.start + 1}); convert the file from what it is, perhaps Latin-1."
            ) from error
        # A lone carriage return ends a line, too.
        for line in text.removesuffix("\n").removesuffix("\r").split("\r"):
            number += 1
            if line.strip():
                yield number, line


def fields_of(
    lines: Iterator[tuple[int, str]],
    path: Path,
    columns: Sequence[str],
    needed: Sequence[str],
    faults: list[TableError] | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """The fields of each line by their columns, with its number.

    Raises `TableError` for a line of another number of fields, an empty one that is needed, and an
    `id` that comes twice; with `faults`, such lines are left out and the errors appended there.
    """
    seen: dict[str, int] = {}
    for number, line in lines:
        with collecting(faults):
            yield number, _fields(line, f"{path}, line {number}", columns, needed, seen, number)


def _fields(
    line: str,
    where: str,
    columns: Sequence[str],
    needed: Sequence[str],
    seen: dict[str, int],
    number: int,
) -> dict[str, str]:
    values = line.split("\t")
    if len(values) != len(columns):
        raise TableError(f"{where}: {len(columns)} fields are needed, but it has {len(values)}.")
    fields = dict(zip(columns, values, strict=True))
    if empty := [name for name in needed if not fields[name].strip()]:
        raise TableError(f"{where}: `{empty[0]}` is empty.")
    if (name := fields["id"]) in seen:
        raise TableError(f"{where}: the id `{name[:80]}` comes twice, first in line {seen[name]}.")
    seen[name] = number
    return fields


@contextmanager
def collecting(faults: list[TableError] | None) -> Iterator[None]:
    """Context whose `TableError` is appended to `faults`, or raised if that is None."""
    try:
        yield
    except TableError as error:
        if faults is None:
            raise
        faults.append(error)


class TextNotes:
    """Normalises the sentences of a table, and counts the changed and the suspicious ones."""

    def __init__(self) -> None:
        self._count = dict.fromkeys(_NOTES, 0)
        self._first = dict.fromkeys(_NOTES, 0)

    def read(self, text: str, line: int) -> str:
        """The sentence in composed Unicode, with `\\"` as a quotation mark."""
        if "\\" in text:
            text, changes = _ESCAPED.subn(r"\1", text)
            self._note("escaped", changes > 0, line)
        self._note("quoted", _looks_quoted(text), line)
        if not unicodedata.is_normalized("NFC", text):
            self._note("decomposed", True, line)
            text = unicodedata.normalize("NFC", text)
        return text

    def _note(self, kind: str, found: bool, line: int) -> None:
        if found:
            self._count[kind] += 1
            self._first[kind] = self._first[kind] or line

    def log(self, path: Path) -> None:
        """Logs one warning for each kind of note."""
        for kind, text in _NOTES.items():
            if self._count[kind]:
                logger.warning(
                    "%s: %d texts %s (first: line %d).",
                    path,
                    self._count[kind],
                    text,
                    self._first[kind],
                )


def escaped(text: str | None) -> str:
    r"""A text as it stands in a table: a backslash before \ or " would be read as an escape."""
    return re.sub(r'\\(?=["\\])', r"\\\\", text or "")


def _looks_quoted(text: str) -> bool:
    """Whether a text is in quotation marks, and those within it are doubled."""
    inner = text[1:-1]
    return text[:1] == text[-1:] == '"' and '""' in inner and '"' not in inner.replace('""', "")


_NOTES = {
    "escaped": r"hold \" or \\, as fairseq writes quotation marks; they are read without the \ ",
    "quoted": 'look quoted as in CSV, "... ""..."" ..."; they are read as they are, marks and all',
    "decomposed": "were not in composed Unicode (NFC) and are brought to it",
}
