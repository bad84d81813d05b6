"""A row of a table of recordings: its columns, and what they may hold."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from echostream.data.shard_file import Place
from echostream.data.table_text import TableError
from echostream.frontend.audio_segment import Segment

COLUMNS = (
    "id",
    "src_audio",
    "src_n_frames",
    "src_text",
    "tgt_text",
    "tgt_audio",
    "tgt_n_frames",
)
TEXTS = ("src_text", "tgt_text")
NEEDED = ("id", "src_audio")
# The columns that a row is made of.
USED = frozenset(
    (*NEEDED, *TEXTS, "offset", "duration", "speaker", "language", "word_ends", "weight")
)
# fairseq's names of columns, by ours.
_ALSO = {"src_audio": "audio", "src_n_frames": "n_frames", "language": "src_lang"}
# A part of a file, as fairseq writes it: offset and length, in samples or, in an archive, bytes.
_PART = re.compile(r"(.+):(\d{1,15}):(\d{1,15})", re.DOTALL)
_LONGEST = 1e6  # seconds
_MOST_USES = 1000  # far beyond any use: a typing error must not allocate all memory


class Row(NamedTuple):
    """A line of a table: its number in the file, and the columns that are used.

    `segment` is None for a whole file. `duration`: seconds by the table, None if unknown. `weight`:
    how many times the row is used in an epoch of training, on average. `place`: that of the
    recording in a tar file; None for a file of its own.
    """

    line: int
    id: str
    audio: str
    source: str | None
    target: str | None
    segment: Segment | None = None
    duration: float | None = None
    word_ends: tuple[float, ...] = ()
    speaker: str = ""
    language: str = ""
    weight: float = 1.0
    place: Place | None = None

    @property
    def seconds(self) -> float | None:
        """The length of the utterance by the table; None if unknown."""
        if self.segment is None:
            return self.duration
        return None if self.segment.in_samples else self.segment.duration


def read_header(line: str, path: Path) -> list[str]:
    """The names of the columns, fairseq's names replaced by ours.

    Raises `TableError` for a column that is missing or comes twice.
    """
    if not line.strip():
        raise TableError(f"{path}: the table is empty.")
    header = line.split("\t")
    for ours, theirs in _ALSO.items():
        if ours not in header:
            header = [ours if name == theirs else name for name in header]
    missing = [column for column in NEEDED if column not in header]
    if missing or not set(TEXTS) & set(header):
        found = f"{header}"
        raise TableError(
            f"{path}: the column `{(*missing, 'tgt_text')[0]}` is missing; found "
            f"{found if len(found) < 400 else found[:400] + '...'}. The first line must have the "
            "names of the columns, separated by tabs."
        )
    if twice := [name for name, count in Counter(header).items() if count > 1 and name]:
        raise TableError(f"{path}: the column `{twice[0][:80]}` comes twice.")
    return header


def read_row(
    line: int, fields: Mapping[str, str], texts: Sequence[str], path: Path, where: str
) -> Row:
    """The row of a line's fields and its normalised texts, "" where there is none.

    Raises `TableError` beginning with `where`, for fields that are not possible.
    """
    source, target = (text if text.strip() else None for text in texts)
    if source is None and target is None:
        raise TableError(f"{where}: `src_text` and `tgt_text` are both empty.")
    audio, segment, place = _audio_of(fields, path, where)
    return Row(
        line,
        fields["id"],
        audio,
        source,
        target,
        segment,
        _number(fields, "duration", where),
        _word_ends(fields, where),
        fields.get("speaker", ""),
        fields.get("language", ""),
        _weight(fields, where),
        place,
    )


def _audio_of(
    fields: Mapping[str, str], path: Path, where: str
) -> tuple[str, Segment | None, Place | None]:
    """The file of a row, and the part of it that is meant."""
    audio = fields["src_audio"]
    offset = _number(fields, "offset", where)
    duration = _number(fields, "duration", where)
    if duration == 0:
        raise TableError(f"{where}: `duration` must be more than 0 s, but is 0.")
    part = _PART.fullmatch(audio)
    is_shard = part is not None and part[1].endswith(".tar")
    if part and not part[1].endswith(".zip") and (is_shard or not _is_file(path.parent / audio)):
        if offset:
            raise TableError(
                f"{where}: `offset` is {offset:g}, but `{audio[-80:]}` names a part already."
            )
        begin, length = int(part[2]), int(part[3])
        if not length:
            raise TableError(f"{where}: the part `{audio[-80:]}` has no samples.")
        if is_shard:
            return part[1], None, Place(begin, length)
        return part[1], Segment(begin, length, in_samples=True), None
    if offset is None or (offset == 0 and duration is None):
        return audio, None, None
    return audio, Segment(offset, duration), None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _number(fields: Mapping[str, str], column: str, where: str) -> float | None:
    """Seconds in a column; None if it is empty or not there."""
    text = fields.get(column, "").strip()
    if not text:
        return None
    number = _float(text)
    if not 0 <= number < _LONGEST:
        raise TableError(f"{where}: `{column}` must be seconds, but is {text[:20]!r}.")
    return number


def _weight(fields: Mapping[str, str], where: str) -> float:
    text = fields.get("weight", "").strip()
    weight = _float(text or "1")
    if not 0 <= weight <= _MOST_USES:
        raise TableError(
            f"{where}: `weight` must be a number from 0 to {_MOST_USES}, but is {text[:20]!r}."
        )
    return weight


def _word_ends(fields: Mapping[str, str], where: str) -> tuple[float, ...]:
    ends = tuple(map(_float, fields.get("word_ends", "").split()))
    if not all(0 <= a <= b < _LONGEST for a, b in zip((0.0, *ends), ends, strict=False)):
        raise TableError(
            f"{where}: `word_ends` must be seconds in rising order, separated by spaces, but is "
            f"{fields['word_ends'][:80]!r}."
        )
    return ends


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
