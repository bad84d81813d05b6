"""The first frame of an MP3 file, and the number of bytes in its Xing or Info header."""

from __future__ import annotations

import mmap
import re
from typing import NamedTuple

_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]", re.DOTALL)  # layer III
_FARTHEST = 1 << 16  # most bytes between the tags and the first frame
_SAMPLE_RATES = {  # by the version in a frame's header: 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_HAS_NUM_FRAMES, _HAS_NUM_BYTES = 1, 2  # flags of a Xing header


class Mpeg(NamedTuple):
    """The frames of an MP3 file."""

    start: int  # byte of the first frame, which may be the Xing header
    counted: bool  # whether the header gives the number of samples
    num_uncounted: int  # bytes after those that it counts, if they may be audio


def find_mpeg(path: bytes | str) -> Mpeg | None:
    """The frames of layer III in a file; None if there are none near its beginning."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = _skip_tags(data)
        search = data[start : start + _FARTHEST]
        for match in _SYNC.finditer(search):
            first = start + match.start()
            length = _frame_length(data[first : first + 4])
            # A sync word starts a frame if another frame, or the end, follows it.
            following = data[first + length : first + length + 3]
            if length and (len(following) < 3 or _SYNC.match(following)):
                counted, num_bytes = _read_xing(data[first : first + length])
                left = len(data) - first - num_bytes
                # A tag may follow, and an encoder may not count the frame of the header.
                is_more = num_bytes > 0 and left > 4096 and left > num_bytes // 50
                return Mpeg(first, counted, left if is_more else 0)
    return None


def _skip_tags(data: mmap.mmap) -> int:
    """The first byte after the ID3v2 tags."""
    start = 0
    while data[start : start + 3] == b"ID3" and start + 10 <= len(data):
        size = 0
        for byte in data[start + 6 : start + 10]:
            size = size << 7 | byte & 0x7F
        start += 10 + size
    return min(start, len(data))


def _frame_length(header: bytes) -> int:
    """Bytes of the layer III frame with this header; 0 if the header is not valid."""
    version, padded = header[1] >> 3 & 3, header[2] >> 1 & 1
    rate, kbps = header[2] >> 2 & 3, header[2] >> 4
    if version not in _SAMPLE_RATES or rate == 3 or not 0 < kbps < 15:
        return 0
    is_first = version == 3
    bits = (144_000 if is_first else 72_000) * (_KBPS_1 if is_first else _KBPS_2)[kbps]
    return bits // _SAMPLE_RATES[version][rate] + padded


def _read_xing(frame: bytes) -> tuple[bool, int]:
    """Whether this first frame gives the number of samples, and its number of bytes."""
    for mark in (b"Xing", b"Info"):
        at = frame.find(mark, 4, 64)
        if at >= 0:
            flags = int.from_bytes(frame[at + 4 : at + 8], "big")
            size_at = at + (12 if flags & _HAS_NUM_FRAMES else 8)
            size = int.from_bytes(frame[size_at : size_at + 4], "big")
            return bool(flags & _HAS_NUM_FRAMES), size if flags & _HAS_NUM_BYTES else 0
    return False, 0
