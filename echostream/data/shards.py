"""Packs the recordings of a table into a few tar files, of which training reads parts.

The column `src_audio` names a recording as `FILE.tar:offset:length`, in bytes, as fairseq names
features in a zip. Any program for tar files reads the shards, too.
"""

from __future__ import annotations

import random
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from shutil import copyfile
from typing import NamedTuple

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from echostream.data.recordings import in_parallel
from echostream.data.shard_file import Place, read_members, write_shard
from echostream.data.table import Table, read_tsv
from echostream.data.table_row import Row
from echostream.data.table_text import TableError, escaped
from echostream.files import (
    check_outputs,
    locked,
    make_folder,
    remove_unfinished,
    replacing,
    safe_name,
)
from echostream.frontend.audio import AudioError
from echostream.text.normalization import FILE as TEXT

_COLUMNS = (
    "id", "src_audio", "duration", "src_text", "tgt_text", "speaker", "language", "word_ends",
    "weight",
)  # fmt: skip


class Sharded(NamedTuple):
    """The table that was written, its number of rows and shards, and the rows left out."""

    table: Path
    num_rows: int
    num_shards: int
    faults: list[str]


class _Job(NamedTuple):
    """A shard to be written: rows of a table, in this order."""

    table: Path
    shard: Path
    rows: Sequence[int]


def write_shards(path: Path, output: Path, shard_utterances: int, jobs: int) -> Sharded:
    """Writes the recordings of a table into tar files of FLAC in a folder, and a table of them.

    The rows are shuffled, always in the same way, so that each shard is a sample of the corpus. The
    recordings are mono, of 16 kHz and 16 bits. Rows that cannot be read are left out. A shard is
    written under a temporary name; a call that was stopped goes on with the next one.

    Raises:
        TableError: if the table cannot be used, or none of its recordings can be read.
        ValueError: if `shard_utterances` is below 1, or the table is in the folder itself.
        OSError: naming the file that cannot be read or written.
    """
    if shard_utterances < 1:
        raise ValueError(
            f"`--shard-utterances` must be at least 1, but is {shard_utterances} instead."
        )
    written = output / path.name
    check_outputs({str(path): written})
    _opened.cache_clear()  # the table may be another than in a call before
    table, bad_lines = _opened(path)
    order = list(range(len(table)))
    random.Random(0).shuffle(order)
    with locked(make_folder(output)):
        remove_unfinished(output)
        starts = range(0, len(order), shard_utterances)
        work = [
            _Job(path, output / f"{path.stem}-{n:06d}.tar", order[s : s + shard_utterances])
            for n, s in enumerate(starts, start=1)
        ]
        faults = [*map(str, bad_lines)]
        num_rows = 0
        with replacing(written) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write("\t".join(_COLUMNS) + "\n")
            for lines, unreadable in in_parallel(_pack, work, jobs, "shards", portion=1):
                faults += unreadable
                num_rows += len(lines)
                file.writelines(f"{line}\n" for line in lines)
            if not num_rows:
                raise TableError(f"{path}: no recording can be read, the first: {faults[0]}")
        for old in set(output.glob(f"{path.stem}-{6 * '[0-9]'}.tar")) - {j.shard for j in work}:
            old.unlink()  # of a call with smaller shards
        if (path.parent / TEXT).is_file():
            with replacing(output / TEXT) as temporary:
                copyfile(path.parent / TEXT, temporary)
    return Sharded(written, num_rows, len(work), faults)


@lru_cache(maxsize=1)
def _opened(path: Path) -> tuple[Table, list[TableError]]:
    """The table and its bad lines, read once in a process; one that is forked has it already."""
    faults: list[TableError] = []
    return read_tsv(path, faults), faults


def _pack(job: _Job) -> tuple[list[str], list[str]]:
    """Writes a shard if it is not there; the lines of its rows, and the faults of others."""
    table, _ = _opened(job.table)
    rows = [table.rows[number] for number in job.rows]
    names = [safe_name(row.id) for row in rows]
    faults: list[str] = []

    def recordings() -> Iterator[tuple[str, NDArray[np.float32]]]:
        for number, name in zip(job.rows, names, strict=True):
            try:
                samples = table[number].samples
            except AudioError as error:
                faults.append(str(error))
            else:
                yield name, samples

    sources = {job.table, *(table.path.parent / row.audio for row in rows)}
    members = _members_newer_than(sources, job.shard)
    if list(members) != names:
        write_shard(job.shard, recordings())
        members = read_members(job.shard)
    by_name = dict(zip(names, rows, strict=True))
    lines = [_line(by_name[name], job.shard.name, *found) for name, found in members.items()]
    return lines, faults


def _members_newer_than(sources: Iterable[Path], shard: Path) -> dict[str, tuple[Place, float]]:
    """The members of a shard, none if it is damaged, or older than what it was made of."""
    with suppress(OSError, tarfile.TarError, sf.LibsndfileError):
        if shard.stat().st_mtime >= max(source.stat().st_mtime for source in sources):
            return read_members(shard)
    return {}


def _line(row: Row, shard: str, place: Place, seconds: float) -> str:
    values = {
        "id": row.id,
        "src_audio": f"{shard}:{place.offset}:{place.length}",
        "duration": f"{seconds:.6f}",
        "src_text": escaped(row.source),
        "tgt_text": escaped(row.target),
        "speaker": row.speaker,
        "language": row.language,
        "word_ends": " ".join(f"{end:g}" for end in row.word_ends),
        "weight": f"{row.weight:g}",
    }
    return "\t".join(values[name] for name in _COLUMNS)
