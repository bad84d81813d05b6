"""Check of a table: each row that cannot be used, or not as it is meant, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from echostream.data.lengths import is_long_enough, num_frames
from echostream.data.limits import Limits
from echostream.data.recordings import Recording, in_parallel, measure_all
from echostream.data.shard_file import Place, ShardReader
from echostream.data.table import Table, read_tsv
from echostream.data.table_row import Row
from echostream.data.table_text import TableError
from echostream.frontend.audio import AudioError
from echostream.frontend.audio_segment import TOLERANCE
from echostream.text.tokenizer import Tokenizer


class Fault(NamedTuple):
    """A fault of a row: its kind, the same words for all of a kind, and a line that names it."""

    kind: str
    message: str


class TableCheck(NamedTuple):
    """The faults of a table in the order of its lines, and the number of its rows."""

    faults: list[Fault]
    num_rows: int


def check_table(
    path: str | Path,
    limits: Limits,
    jobs: int,
    tokenizers: tuple[Tokenizer | None, Tokenizer | None] = (None, None),
    tail_ms: int = 0,
) -> TableCheck:
    """Checks every row of a table and goes on after each fault; recordings are measured.

    With `tokenizers`, of source and target, a row is also too short if its recording with
    `tail_ms` of silence after it has too few encoder frames for the pieces of its text.

    Raises TableError if the header is wrong or no line can be used, and OSError.
    """
    bad_lines: list[TableError] = []
    table = read_tsv(path, bad_lines)
    present = [row for row in table.rows if not table.fault(row)]
    recordings = measure_all((_file(table, row) for row in present if row.place is None), jobs)
    members = [(_file(table, row), row.place) for row in present if row.place is not None]
    in_shards = dict(zip(members, in_parallel(_measure, members, jobs, "shards"), strict=True))
    faults = [(_line(str(error)), "a line that cannot be read", str(error)) for error in bad_lines]
    for row in table.rows:
        if reason := table.fault(row):
            found = [("a recording that is missing", reason)]
        else:
            file = _file(table, row)
            recording = recordings[file] if row.place is None else in_shards[file, row.place]
            found = list(_faults(row, recording, limits, tokenizers, tail_ms))
        where = f"{table.path}, line {row.line} ({row.id[:80]})"
        faults += [(row.line, kind, f"{where}: {kind}: {text}") for kind, text in found]
    faults.sort(key=lambda fault: fault[0])
    return TableCheck(
        [Fault(kind, message) for _, kind, message in faults], len(table) + len(bad_lines)
    )


def _faults(
    row: Row,
    recording: Recording,
    limits: Limits,
    tokenizers: tuple[Tokenizer | None, Tokenizer | None],
    tail_ms: int,
) -> Iterator[tuple[str, str]]:
    if recording.fault:
        yield "a recording that cannot be read", recording.fault
        return
    seconds = recording.seconds
    if row.segment is not None:
        part = row.segment.within(seconds, recording.sample_rate)
        if part is None:
            place = f"{row.segment} of a recording of {seconds:.3f} s"
            yield "a segment beyond the end of its recording", place
            return
        seconds = part[1] - part[0]
    elif row.duration is not None and row.duration > seconds + TOLERANCE:
        lengths = f"{row.duration:.3f} s by the table, {seconds:.3f} s in the file"
        yield "a recording shorter than declared", lengths
    if seconds <= 0:
        return
    if fault := limits.fault(seconds, row.source, row.target):
        yield fault
    frames = num_frames(seconds, tail_ms)
    for name, text, tokenizer in zip(
        ("src_text", "tgt_text"), (row.source, row.target), tokenizers, strict=True
    ):
        if text is not None and tokenizer is not None:
            pieces = len(tokenizer.encode(text))
            if not is_long_enough(frames, pieces):
                yield f"too short for its `{name}`", f"{pieces} pieces in {seconds:.3f} s"


@lru_cache(maxsize=1)
def _shard_reader() -> ShardReader:
    """The reader of a process."""
    return ShardReader()


def _measure(member: tuple[Path, Place]) -> Recording:
    try:
        samples, rate = _shard_reader().read(*member)
    except AudioError as error:
        return Recording(0.0, 0, str(error))
    return Recording(len(samples) / rate, rate)


def _file(table: Table, row: Row) -> Path:
    return table.path.parent / row.audio


def _line(message: str) -> int:
    """The number of the line that the message of a TableError names."""
    return int(message.partition(", line ")[2].partition(":")[0])
