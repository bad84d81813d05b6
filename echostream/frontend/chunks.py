"""Finds samples that the header of a WAV, AIFF or AU file does not count.

A recorder that is killed, or whose battery is empty, leaves the size in the header as it was at the
beginning or at its last update. More samples follow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

FORMATS = ("WAV", "WAVEX", "AIFF", "AU")
_MOST_CHUNKS = 1000  # a bound against malicious files


class Uncounted(NamedTuple):
    """The position of a size in a header, and the value with which all samples are read."""

    position: int  # of the size, in bytes
    unknown_size: bytes
    fault: str


def find_uncounted(path: bytes | str, kind: str, one_second: int) -> Uncounted | None:
    """The size to be corrected if uncounted audio follows; None if there is none.

    `kind` is libsndfile's name of the format. If the size is not zero, the bytes after it only
    count as audio if there are at least `one_second`, because programs append metadata.
    """
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        found = _find_au(file) if kind == "AU" else _find_chunk(file, end)
        if found is None:
            return None
        position, unknown_size, start, size = found
        left = end - start - size
        if left < 16 or (size > 0 and left < one_second) or _are_chunks(file, start + size, end):
            return None
    fault = f"the header declares {size} bytes of audio and {left} more follow: all are read"
    return Uncounted(position, unknown_size, fault)


def _find_au(file: BinaryIO) -> tuple[int, bytes, int, int] | None:
    header = file.read(12)
    if header[:4] not in (b".snd", b"dns."):
        return None
    order = _order(header)
    start, size = (int.from_bytes(header[at : at + 4], order) for at in (4, 8))
    return (8, b"\xff" * 4, start, size) if size != 0xFFFF_FFFF else None


def _find_chunk(file: BinaryIO, end: int) -> tuple[int, bytes, int, int] | None:
    """The chunk of samples: position of its size, the size for "unknown", its start and size."""
    form = file.read(4)
    if form not in (b"RIFF", b"RIFX", b"FORM"):
        return None
    wanted = b"SSND" if form == b"FORM" else b"data"
    file.seek(12)
    for name, start, size in _chunks(file, end, "little" if form == b"RIFF" else "big"):
        if name == wanted:
            if form != b"FORM":
                return start - 4, b"\xff" * 4, start, size
            # An offset and a block size of four bytes each come before the samples.
            return start - 4, bytes(4), start + 8, max(0, size - 8)
    return None


def _are_chunks(file: BinaryIO, start: int, end: int) -> bool:
    """Whether only well-formed chunks follow, up to the end of the file."""
    file.seek(0)
    order = _order(file.read(4))
    for at in (start, start + start % 2):
        file.seek(at)
        reached = at
        for name, position, size in _chunks(file, end, order):
            if not (name.isascii() and name.decode("ascii").isprintable()):
                break
            reached = position + size
        if reached > at and -1 <= end - reached <= 8:  # less than another chunk may be left
            return True
    return False


def _chunks(
    file: BinaryIO, end: int, order: Literal["little", "big"]
) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and size of each chunk from the position of `file` on."""
    for _ in range(_MOST_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return
        size = int.from_bytes(header[4:], order)
        start = file.tell()
        yield header[:4], start, size
        if start + size + size % 2 > end:
            return
        file.seek(start + size + size % 2)


def _order(magic: bytes) -> Literal["little", "big"]:
    return "little" if magic[:4] in (b"RIFF", b"dns.") else "big"
