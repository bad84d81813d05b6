"""Recordings on disk: a table of tab-separated values, with the columns StreamSpeech uses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from echostream.data.packed_rows import PackedRows
from echostream.data.shard_file import ShardReader
from echostream.data.table_row import COLUMNS as COLUMNS
from echostream.data.table_row import NEEDED, TEXTS, Row, read_header, read_row
from echostream.data.table_text import TableError as TableError
from echostream.data.table_text import TextNotes, collecting, fields_of, lines_of
from echostream.data.utterance import Utterance
from echostream.frontend.audio import AudioError, FaultyFiles, clean, read_audio
from echostream.frontend.audio_segment import SegmentReader
from echostream.frontend.resample import resample
from echostream.streaming.clock import SAMPLE_RATE

# Features in a zip, as StreamSpeech's preparation writes them: file, offset and length.
_FEATURES = re.compile(r"\.zip:\d+:\d+$")
# Above any gain of a recording in floats, and far below samples that are whole numbers.
_LOUDEST = 100.0


class Table(Sequence[Utterance]):
    """The utterances of a table, in order; the audio of each is read at access.

    A relative path of audio starts at the folder of the table. Audio is resampled to 16 kHz and
    mixed down to one channel.
    """

    def __init__(self, rows: Sequence[Row], path: Path) -> None:
        self._rows = rows
        self.path = path
        self._faulty = FaultyFiles()  # so that each file is warned of once, not in each epoch
        self._segments = SegmentReader(self._faulty)
        self._shard_reader = ShardReader()
        self._shards_found: set[str] = set()

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
            return Utterance(
                row.id, self._samples(row), row.source, row.target, row.speaker, row.word_ends
            )
        except AudioError as error:
            raise AudioError(f"{self.path}, line {row.line}: {error}") from error

    @property
    def rows(self) -> Sequence[Row]:
        """The rows, in order; no audio is read."""
        return self._rows

    @property
    def weights(self) -> NDArray[np.float64]:
        """How many times each row is used in an epoch of training, on average."""
        if isinstance(self._rows, PackedRows):
            return self._rows.weights
        return np.array([row.weight for row in self._rows])

    @property
    def shards(self) -> NDArray[np.int64]:
        """The number of the tar file in which the recording of each row is, -1 for none."""
        if isinstance(self._rows, PackedRows):
            return self._rows.shards
        names = sorted({row.audio for row in self._rows if row.place is not None})
        return np.array([names.index(r.audio) if r.place is not None else -1 for r in self._rows])

    def texts(self, index: int) -> tuple[str | None, str | None]:
        """Source and target text of an utterance, without its audio; None for one it lacks."""
        row = self._rows[index]
        return row.source, row.target

    def missing(self) -> list[str]:
        """Each recording that is missing, in order: the line of the table and the reason."""
        return [
            f"{self.path}, line {row.line}: {reason}"
            for row in self._rows
            if (reason := self.fault(row))
        ]

    def fault(self, row: Row) -> str:
        """The reason why a recording cannot be read, as far as its path shows; else ""."""
        if _FEATURES.search(row.audio):
            return (
                f"`src_audio` of {row.id} must be a recording, but {row.audio} is a part of a zip "
                "of features. EchoStream makes its own features: write the recording's path there."
            )
        if row.place is not None and row.audio in self._shards_found:
            return ""
        path = self.path.parent / row.audio
        try:
            found = path.is_file()
        except (OSError, ValueError) as error:  # a name too long, or with a NUL
            return f"{str(path)[:200]} cannot be read as audio: {error}."
        if found:
            if row.place is not None:
                self._shards_found.add(row.audio)
            return ""
        reason = "it is not a file" if path.exists() else "there is no such file"
        return f"{path} cannot be read as audio: {reason}."

    def _samples(self, row: Row) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        if fault := self.fault(row):
            raise AudioError(fault)
        path = self.path.parent / row.audio
        if row.place is not None:
            recorded, sample_rate = self._shard_reader.read(path, row.place)
        elif row.segment is None:
            recorded, sample_rate = read_audio(path, self._faulty)
        else:
            recorded, sample_rate = self._segments.read(path, row.segment)
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


def read_tsv(path: str | Path, faults: list[TableError] | None = None) -> Table:
    """The utterances of the table at `path`, with the columns of StreamSpeech or fairseq.

    Needed are `id`, `src_audio` (or fairseq's `audio`), and `src_text` or `tgt_text`; a row may
    lack one of the texts. A part of a recording is named by `offset` and `duration` in seconds, or
    as `path:offset:length` in samples; with an empty `offset` the whole file is meant, and
    `duration` is only its length. `path.tar:offset:length`, in bytes, is a member of a tar file.
    Also read are `speaker`, `language` (or `src_lang`), `weight`, how many times an epoch uses the
    row on average, and `word_ends`, the seconds from the start of the utterance at which the words
    of `src_text` end, separated by spaces. Other columns are passed over; frames are counted from
    the audio.

    UTF-8, with or without a byte order mark; blank lines are skipped. A quotation mark is a letter
    like any other, and no field may hold a tab. Texts are converted to composed Unicode (NFC), and
    `\\"`, as fairseq and StreamSpeech write a quotation mark, to `"`; the numbers of changed texts
    are logged.

    Raises `TableError` naming the line: for a missing column, a line of too few or too many fields,
    two empty texts, an id that comes twice, a number that is not possible, or text that is not
    UTF-8; and OSError if the file cannot be read. With `faults`, errors of single lines are
    appended there, and the lines left out.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # reading a pipe could block for ever
        raise TableError(f"{path} must be a file, but is a folder, a pipe or a device.")
    notes = TextNotes()
    with path.open("rb") as file:
        lines = lines_of(file, path)
        header = read_header(next(lines, (1, ""))[1], path)
        rows = PackedRows(path, header)
        for number, fields in fields_of(lines, path, header, NEEDED, faults):
            with collecting(faults):
                texts = [notes.read(fields.get(name, ""), number) for name in TEXTS]
                where = f"{path}, line {number}"
                rows.add(fields, read_row(number, fields, texts, path, where))
    notes.log(path)
    if not rows:
        if faults:
            raise TableError(f"{path}: no line can be used, the first: {faults[0]}")
        raise TableError(f"{path}: the table has a header but no lines.")
    return Table(rows, path)
