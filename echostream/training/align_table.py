"""Adds the times at which source words end to a table, from the ASR head of a model."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from echostream.data.table import Table, read_tsv
from echostream.data.table_text import TableError
from echostream.extras import extra
from echostream.files import write_whole
from echostream.frontend.audio import AudioError
from echostream.model_folder import Model
from echostream.training.word_times import word_ends

with extra("train", "training"):
    from tqdm import tqdm

COLUMN = "word_ends"

logger = logging.getLogger(__name__)


def align_table(model: Model, path: Path, output: Path, batch_rows: int = 16) -> tuple[int, int]:
    """Writes the table again with the column `word_ends`; returns its rows and those with times.

    The column is empty where there is no transcript, where the recording cannot be read (one
    warning with their number), and where it is too short for its transcript.

    Raises:
        TableError: if the table cannot be used, or `output` is in another folder than the table, in
            which its relative paths would be wrong.
        OSError: if a file cannot be read or written.
    """
    if output.resolve().parent != path.resolve().parent:
        raise TableError(f"{output}: must be in the folder of {path}, where its paths start.")
    table = read_tsv(path)
    found: dict[int, tuple[float, ...]] = {}  # by line
    unreadable: list[str] = []
    with tqdm(total=len(table), unit="row", desc="word times") as bar:
        for rows in _batches(table, batch_rows):
            utterances, lines = [], []
            for row in rows:
                try:
                    utterances.append(table[row])
                    lines.append(table.rows[row].line)
                except AudioError as error:
                    unreadable.append(str(error))
            if utterances:
                found.update(zip(lines, word_ends(model, utterances), strict=True))
            bar.update(len(rows))
    if unreadable:
        logger.warning(
            "%s: %d recordings cannot be read, the first: %s", path, len(unreadable), unreadable[0]
        )
    text = path.read_text(encoding="utf-8-sig").split("\n")
    write_whole(output, "\n".join(_with_column(text, found)))
    return len(table), sum(map(bool, found.values()))


def _batches(table: Table, size: int) -> Iterator[Sequence[int]]:
    """Rows of about equal length by their texts, at most `size` at a time."""
    order = sorted(range(len(table)), key=lambda row: len(table.texts(row)[0] or ""))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _with_column(lines: Sequence[str], found: dict[int, tuple[float, ...]]) -> Iterator[str]:
    """The lines of a table with the column; one that is there is replaced."""
    header = lines[0].rstrip("\r").split("\t")
    place = header.index(COLUMN) if COLUMN in header else len(header)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            yield line
            continue
        fields = line.rstrip("\r").split("\t")
        times = " ".join(f"{end:.2f}" for end in found.get(number, ()))
        fields[place : place + 1] = [COLUMN if number == 1 else times]
        yield "\t".join(fields)
