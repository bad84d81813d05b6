"""Recordings on disk: a table of tab-separated values, with the columns StreamSpeech uses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from echostream.data.table_text import TableError as TableError
from echostream.data.table_text import TextNotes, fields_of, lines_of
from echostream.data.utterance import Utterance
from echostream.frontend.audio import AudioError, FaultyFiles, clean, read_audio
from echostream.frontend.resample import resample
from echostream.streaming.clock import SAMPLE_RATE

COLUMNS = (
    "id",
    "src_audio",
    "src_n_frames",
    "src_text",
    "tgt_text",
    "tgt_audio",
    "tgt_n_frames",
)
# Features in a zip, as StreamSpeech's preparation writes them: file, offset and length.
_FEATURES = re.compile(r"\.zip:\d+:\d+$")
_NEEDED = ("id", "src_audio", "src_text", "tgt_text")
# Above any gain of a recording in floats, and far below samples that are whole numbers.
_LOUDEST = 100.0
_NO_OFFSET = {"", "0", "0.0"}


class Row(NamedTuple):
    """A line of a table: its number in the file, and the columns that are used."""

    line: int
    id: str
    audio: str
    source: str
    target: str


class Table(Sequence[Utterance]):
    """The utterances of a table, in order; the audio of each is read at access.

    A relative path of audio starts at the folder of the table. Audio is resampled to 16 kHz and
    mixed down to one channel. A table has no voice and no word times: they are "" and ().
    """

    def __init__(self, rows: Sequence[Row], path: Path) -> None:
        self._rows = tuple(rows)
        self.path = path
        self._faulty = FaultyFiles()  # so that each file is warned of once, not in each pass

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> Table: ...
    def __getitem__(self, index: int | slice) -> Utterance | Table:
        """Raises `echostream.frontend.audio.AudioError`, naming the line, for audio that cannot be
        read, or whose samples are not in [-1, 1].
        """
        if isinstance(index, slice):
            return Table(self._rows[index], self.path)
        row = self._rows[index]
        try:
            return Utterance(row.id, self._samples(row), row.source, row.target, voice="")
        except AudioError as error:
            raise AudioError(f"{self.path}, line {row.line}: {error}") from error

    def texts(self, index: int) -> tuple[str, str]:
        """Source and target text of an utterance, without its audio."""
        row = self._rows[index]
        return row.source, row.target

    def missing(self) -> list[str]:
        """Each recording that is missing, in order: the line of the table and the reason."""
        return [
            f"{self.path}, line {row.line}: {reason}"
            for row in self._rows
            if (reason := self._fault(row))
        ]

    def _fault(self, row: Row) -> str:
        """The reason why a recording cannot be read, as far as its path shows; else ""."""
        if _FEATURES.search(row.audio):
            return (
                f"`src_audio` of {row.id} must be a recording, but {row.audio} is a part of a zip "
                "of features. EchoStream makes its own features: write the recording's path there."
            )
        path = self.path.parent / row.audio
        try:
            found = path.is_file()
        except (OSError, ValueError) as error:  # a name too long, or with a NUL
            return f"{str(path)[:200]} cannot be read as audio: {error}."
        if found:
            return ""
        reason = "it is not a file" if path.exists() else "there is no such file"
        return f"{path} cannot be read as audio: {reason}."

    def _samples(self, row: Row) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        if fault := self._fault(row):
            raise AudioError(fault)
        path = self.path.parent / row.audio
        recorded, sample_rate = read_audio(path, self._faulty)
        samples, num_unusable = clean(recorded)
        if num_unusable:
            self._faulty.add(
                str(path),
                "samples that are NaN, infinite or far too large",
                f"{num_unusable} samples are NaN, infinite or far too large, and count as silence",
            )
        loudest = float(np.abs(samples).max(initial=0))
        if loudest > _LOUDEST:
            raise AudioError(
                f"{path} must have samples in [-1, 1], but they reach {loudest:.0f}: they look "
                "like whole numbers that were written as floats."
            )
        if sample_rate != SAMPLE_RATE:
            samples = resample(samples, sample_rate)
        return samples


def read_tsv(path: str | Path) -> Table:
    """The utterances of the table at `path`; the columns are those of `COLUMNS`, in any order.

    UTF-8, with or without a byte order mark; blank lines are skipped. A quotation mark is a letter
    like any other, and no field may hold a tab. Texts are converted to composed Unicode (NFC), and
    `\\"`, as fairseq and StreamSpeech write a quotation mark, to `"`; the numbers of changed texts
    are logged. The column of frames is not used: frames are counted from the audio.

    Raises `TableError` naming the line: for a missing column, a line of too few or too many fields,
    an empty text, an id that comes twice, or text that is not UTF-8; and OSError if the file cannot
    be read.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # reading a pipe could block for ever
        raise TableError(f"{path} must be a file, but is a folder, a pipe or a device.")
    with path.open("rb") as file:
        lines = lines_of(file, path)
        rows = list(_rows(lines, path, notes := TextNotes()))
    notes.log(path)
    if not rows:
        raise TableError(f"{path}: the table has a header but no lines.")
    return Table(rows, path)


def _rows(lines: Iterator[tuple[int, str]], path: Path, notes: TextNotes) -> Iterator[Row]:
    header = _header(next(lines, (1, ""))[1], path)
    for number, row in fields_of(lines, path, header, _NEEDED):
        if row.get("offset", "").strip() not in _NO_OFFSET:
            raise TableError(
                f"{path}, line {number}: `offset` is {row['offset'][:20]}, but a part of a "
                "recording cannot be named; cut it into files."
            )
        source, target = (notes.read(row[column], number) for column in _NEEDED[2:])
        yield Row(number, row["id"], row["src_audio"], source, target)


def _header(line: str, path: Path) -> list[str]:
    if not line.strip():
        raise TableError(f"{path}: the table is empty.")
    header = line.split("\t")
    if missing := [column for column in _NEEDED if column not in header]:
        found = f"{header}"
        raise TableError(
            f"{path}: the column `{missing[0]}` is missing; found "
            f"{found if len(found) < 400 else found[:400] + '...'}. The first line must have the "
            "names of the columns, separated by tabs."
        )
    if twice := [name for name, count in Counter(header).items() if count > 1 and name]:
        raise TableError(f"{path}: the column `{twice[0][:80]}` comes twice.")
    return header
