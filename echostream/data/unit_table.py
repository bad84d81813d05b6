"""Tables of target speech and of units, in the columns of StreamSpeech's `fbank2unit` tables.

`tgt_audio` is a recording (a path relative to the table) or, after extraction, the ids of the
units separated by spaces; `tgt_n_frames` is the number of units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.data.table_text import TableError, fields_of, lines_of
from echostream.files import write_whole
from echostream.frontend.audio import AudioError, read_audio
from echostream.frontend.resample import resample
from echostream.streaming.clock import SAMPLE_RATE, UNIT_MS, UNIT_SAMPLES

AUDIO, COUNT = "tgt_audio", "tgt_n_frames"
_NEEDED = ("id", AUDIO)
# Above any recording in floats; whole numbers written as floats would drown all others.
_LOUDEST = 2.0


@dataclass(frozen=True)
class TableRow:
    """A line of a table: its number in the file, and its fields by column."""

    line: int
    fields: dict[str, str]


@dataclass(frozen=True)
class UnitTable:
    """A table with the columns `id` and `tgt_audio`; other columns are passed on as they are."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def samples(self, row: TableRow) -> NDArray[np.float32]:
        """The recording of a row, at 16 kHz and one channel, of a whole unit at least.

        Raises `AudioError` naming the line.
        """
        try:
            samples, sample_rate = read_audio(self.path.parent / row.fields[AUDIO])
        except AudioError as error:
            raise AudioError(f"{self.path}, line {row.line}: `{AUDIO}`: {error}") from error
        except (OSError, ValueError) as error:
            raise AudioError(
                f"{self.path}, line {row.line}: `{AUDIO}` must be a recording, but is "
                f"{row.fields[AUDIO][:80]!r}: {error}"
            ) from error
        loudest = float(np.abs(samples).max(initial=0))
        if not loudest <= _LOUDEST:  # NaN, too
            raise AudioError(
                f"{self.path}, line {row.line}: `{AUDIO}` must have samples in [-1, 1], but they "
                f"reach {loudest:.3g}."
            )
        samples = samples if sample_rate == SAMPLE_RATE else resample(samples, sample_rate)
        if len(samples) < UNIT_SAMPLES:
            raise AudioError(
                f"{self.path}, line {row.line}: `{AUDIO}` must have at least {UNIT_MS} ms, a unit, "
                f"but has {1000 * len(samples) / SAMPLE_RATE:.1f} ms."
            )
        return samples

    def units(self, row: TableRow, num_units: int) -> NDArray[np.int64]:
        """The ids of a row.

        Raises `TableError` naming the line, for what is no number or not below `num_units`.
        """
        words = row.fields[AUDIO].split()
        where = f"{self.path}, line {row.line}: `{AUDIO}`"
        for word in words:
            if not (word.isascii() and word.isdecimal()):
                raise TableError(f"{where} must be ids of units, but holds {word[:40]!r}.")
            if len(word) > 9 or int(word) >= num_units:
                raise TableError(
                    f"{where} must be ids from 0 to {num_units - 1}, but holds {word[:40]}."
                )
        return np.array([int(word) for word in words], np.int64)


def read_unit_table(path: str | Path) -> UnitTable:
    """The table at `path`.

    Raises `TableError` naming the line: for a missing column, a column or an id that comes twice, a
    line of another number of fields, an empty field that is needed, or text that is not UTF-8; and
    OSError if the file cannot be read.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # reading a pipe could block for ever
        raise TableError(f"{path} must be a file, but is a folder, a pipe or a device.")
    with path.open("rb") as file:
        lines = lines_of(file, path)
        columns = tuple(next(lines, (1, ""))[1].split("\t"))
        missing = [name for name in _NEEDED if name not in columns]
        if missing:
            raise TableError(
                f"{path}: the column `{missing[0]}` is missing; found {str(columns)[:400]}."
            )
        if len(set(columns)) < len(columns):
            raise TableError(f"{path}: a column comes twice in {str(columns)[:400]}.")
        rows = tuple(TableRow(*each) for each in fields_of(lines, path, columns, _NEEDED))
    if not rows:
        raise TableError(f"{path}: the table has a header but no lines.")
    return UnitTable(path, columns, rows)


def write_units(
    path: str | Path,
    table: UnitTable,
    units: Sequence[NDArray[np.int64]],
    reduce: bool = False,
) -> None:
    """Writes a table with the units of each row in place of its recording.

    With `reduce`, runs of one id are merged to one. Other columns stay as they are: word ends are
    counted in 20 ms before the merge.
    """
    columns = table.columns if COUNT in table.columns else (*table.columns, COUNT)
    lines = ["\t".join(columns)]
    for row, ids in zip(table.rows, units, strict=True):
        kept = merge_repeats(ids) if reduce else ids
        fields = {**row.fields, AUDIO: " ".join(map(str, kept)), COUNT: str(len(kept))}
        lines.append("\t".join(fields[name] for name in columns))
    write_whole(path, "".join(f"{line}\n" for line in lines))


def merge_repeats(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ids without those that equal the one before."""
    return ids[np.diff(ids, prepend=-1) != 0] if len(ids) else ids
