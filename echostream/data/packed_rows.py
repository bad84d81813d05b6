"""The rows of a table in little memory: compressed lines, of which a row is made at access."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from echostream.data.table_row import TEXTS, USED, Row, read_row
from echostream.data.table_text import TextNotes

_BLOCK = 64  # rows that are compressed together


class PackedRows(Sequence[Row]):
    """The rows of the table at `path`: about half the bytes of its columns that are used.

    As Python objects they would take several times as much, and each process that makes batches
    would come to have a copy: to read an object writes its reference count, which copies shared
    memory. Here all lines are in one buffer. A row is made anew at each access.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self._path = path
        self._columns = [name for name in header if name in USED]
        self._pending: list[str] = []  # lines of the last block, which is not full
        self._packed = bytearray()
        self._ends = array("Q")  # of the blocks
        self._numbers = array("I")  # of the lines in the file
        self._weights = array("d")
        self._shards = array("i")  # of each row, -1 for none
        self._shard_numbers: dict[str, int] = {}
        self._block: tuple[int, list[str]] | None = None  # the last that was read

    def add(self, fields: Mapping[str, str], row: Row) -> None:
        """Appends a row, made of these fields."""
        self._pending.append("\t".join(fields[name] for name in self._columns))
        self._numbers.append(row.line)
        self._weights.append(row.weight)
        numbers = self._shard_numbers
        shard = -1 if row.place is None else numbers.setdefault(row.audio, len(numbers))
        self._shards.append(shard)
        if len(self._pending) == _BLOCK:
            self._packed += zlib.compress("\n".join(self._pending).encode())
            self._ends.append(len(self._packed))
            self._pending = []

    @property
    def weights(self) -> NDArray[np.float64]:
        """How many times each row is used in an epoch of training, on average."""
        return np.array(self._weights)

    @property
    def shards(self) -> NDArray[np.int64]:
        """The number of the tar file in which the recording of each row is, -1 for none."""
        return np.array(self._shards, np.int64)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        """A row, or a list of them."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        values = self._lines(number // _BLOCK)[number % _BLOCK].split("\t")
        fields = dict(zip(self._columns, values, strict=True))
        line = self._numbers[number]
        notes = TextNotes()  # which were logged when the table was read
        texts = [notes.read(fields.get(name, ""), line) for name in TEXTS]
        return read_row(line, fields, texts, self._path, f"{self._path}, line {line}")

    def _lines(self, block: int) -> list[str]:
        if block == len(self._ends):
            return self._pending
        if self._block is None or self._block[0] != block:
            start = self._ends[block - 1] if block else 0
            with memoryview(self._packed) as packed:
                text = zlib.decompress(packed[start : self._ends[block]]).decode()
            self._block = block, text.split("\n")
        return self._block[1]
