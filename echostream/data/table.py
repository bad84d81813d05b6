"""Recordings on disk: a table of tab-separated values, with the columns StreamSpeech uses."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import soxr

from echostream.data.utterance import Utterance
from echostream.frontend.audio import AudioError, FaultyFiles, clean, read_audio
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
# What StreamSpeech's preparation writes: file, offset and length.
_FEATURES = re.compile(r"\.zip:\d+:\d+$")
_NEEDED = ("id", "src_audio", "src_text", "tgt_text")


class TableError(ValueError):
    """A table that cannot be used; the message names the file and the line."""


class Table(Sequence[Utterance]):
    """The utterances of a table, in order; the audio of each is read when it is asked for.

    `rows`: one mapping from column to text for each utterance. A path of audio that is not absolute
    counts from `folder`. Audio at another rate is brought to 16 kHz, several channels to one. The
    voice and the times of the words are not in a table: "" and ().
    """

    def __init__(self, rows: Sequence[dict[str, str]], folder: Path) -> None:
        self._rows = tuple(rows)
        self._folder = folder
        self._faulty = FaultyFiles()  # each pass would warn of each of them again

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> Table: ...
    def __getitem__(self, index: int | slice) -> Utterance | Table:
        """Raises `echostream.frontend.audio.AudioError` for audio that cannot be read."""
        if isinstance(index, slice):
            return Table(self._rows[index], self._folder)
        row = self._rows[index]
        if _FEATURES.search(row["src_audio"]):
            raise AudioError(
                f"`src_audio` of {row['id']} must be a recording, but {row['src_audio']} is a part "
                "of a zip of features. EchoStream makes its own features: write the recording's "
                "path there."
            )
        recorded, sample_rate = read_audio(self._folder / row["src_audio"], self._faulty)
        samples, _ = clean(recorded)
        if sample_rate != SAMPLE_RATE:
            resampled = soxr.resample(samples, sample_rate, SAMPLE_RATE, quality="HQ")
            samples = np.asarray(resampled, dtype=np.float32)
        return Utterance(row["id"], samples, row["src_text"], row["tgt_text"], voice="")

    def texts(self, index: int) -> tuple[str, str]:
        """Source and target text of an utterance, without its audio."""
        row = self._rows[index]
        return row["src_text"], row["tgt_text"]


def read_tsv(path: str | Path) -> Table:
    """The utterances of the table at `path`; the columns are those of `COLUMNS`, in any order.

    Raises `TableError` for a missing column, a short line, an empty text, or an id that comes
    twice, and `FileNotFoundError` if there is no such file.
    """
    path = Path(path)
    with path.open(encoding="utf-8", newline="") as file:
        # A quotation mark is a letter like any other here; no field may hold a tab.
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(reader, None)
        if header is None:
            raise TableError(f"{path}: the table is empty.")
        if missing := [column for column in _NEEDED if column not in header]:
            raise TableError(f"{path}: the column `{missing[0]}` is missing; found {header}.")
        rows: list[dict[str, str]] = []
        seen: set[str] = set()
        for number, fields in enumerate(reader, start=2):
            if len(fields) != len(header):
                raise TableError(
                    f"{path}, line {number}: {len(header)} fields are needed, but it has "
                    f"{len(fields)}."
                )
            row = dict(zip(header, fields, strict=True))
            if empty := [column for column in _NEEDED if not row[column].strip()]:
                raise TableError(f"{path}, line {number}: `{empty[0]}` is empty.")
            if row["id"] in seen:
                raise TableError(f"{path}, line {number}: the id `{row['id']}` comes twice.")
            seen.add(row["id"])
            rows.append(row)
    if not rows:
        raise TableError(f"{path}: the table has a header but no lines.")
    return Table(rows, path.parent)
