"""Packs the recordings of a table into a few tar files, of which training reads parts.

An uncompressed tar file holds each member as a contiguous range of bytes. So the column `src_audio`
can name a recording as `FILE.tar:offset:length`, as fairseq names features in a zip, and any
program for tar files reads the shards, too.
"""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from shutil import copyfile
from typing import NamedTuple

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from echostream.data.recordings import in_parallel
from echostream.data.shard_reader import Place
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
from echostream.streaming.clock import SAMPLE_RATE
from echostream.text.normalization import FILE as TEXT

_COLUMNS = (
    "id", "src_audio", "duration", "src_text", "tgt_text", "speaker", "language", "word_ends",
    "weight",
)  # fmt: skip
_SUFFIX = ".flac"


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
    bad_lines: list[TableError] = []
    table = read_tsv(path, bad_lines)
    _opened.cache_clear()  # the table may be another than in a call before
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
            for lines, unreadable in in_parallel(_write_shard, work, jobs, "shards", portion=1):
                faults += unreadable
                num_rows += len(lines)
                file.writelines(f"{line}\n" for line in lines)
            if not num_rows:
                raise TableError(f"{path}: no recording can be read, the first: {faults[0]}")
        shards = {job.shard for job in work}
        for old in output.glob(f"{path.stem}-[0-9][0-9][0-9][0-9][0-9][0-9].tar"):
            if old not in shards:
                old.unlink()  # of a call with smaller shards
        if (path.parent / TEXT).is_file():
            with replacing(output / TEXT) as temporary:
                copyfile(path.parent / TEXT, temporary)
    return Sharded(written, num_rows, len(shards), faults)


@lru_cache(maxsize=1)
def _opened(path: Path) -> Table:
    """The table of a process, which reads it once; one that is forked has it already."""
    return read_tsv(path, [])


def _write_shard(job: _Job) -> tuple[list[str], list[str]]:
    """Writes a shard if it is not there; the lines of its rows, and the faults of others."""
    table = _opened(job.table)
    rows = {safe_name(row.id): row for row in (table.rows[number] for number in job.rows)}
    members = _members(job.shard, job.table)
    faults: list[str] = []
    if members.keys() != rows.keys():
        with replacing(job.shard) as temporary, tarfile.open(temporary, "w") as archive:
            for number in job.rows:
                try:
                    content = _flac(table[number].samples)
                except AudioError as error:
                    faults.append(str(error))
                    continue
                member = tarfile.TarInfo(safe_name(table.rows[number].id) + _SUFFIX)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        members = _members(job.shard, job.table)
    lines = [_line(rows[name], job.shard.name, *found) for name, found in members.items()]
    return lines, faults


def _members(shard: Path, table: Path) -> dict[str, tuple[Place, float]]:
    """The place and seconds of each member; none of a shard that is damaged, or older than the
    table."""
    found = {}
    with suppress(OSError, tarfile.TarError, sf.LibsndfileError):
        if shard.stat().st_mtime < table.stat().st_mtime:
            return {}
        with tarfile.open(shard) as archive:
            for member in archive:
                file = archive.extractfile(member)
                content = b"" if file is None else file.read()
                place = Place(member.offset_data, member.size)
                seconds = sf.info(io.BytesIO(content)).duration
                found[member.name.removesuffix(_SUFFIX)] = place, seconds
        return found
    return {}


def _flac(samples: NDArray[np.float32]) -> bytes:
    content = io.BytesIO()
    whole = np.rint(samples * 32768).clip(-32768, 32767).astype(np.int16)
    sf.write(content, whole, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return content.getvalue()


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
