"""Lists in SimulEval's format: a text file with a path, or a sentence, per line."""

from __future__ import annotations

import codecs
import io
from pathlib import Path

_WIDE = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_AUDIO = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd")


class ListError(ValueError):
    """A list that is not text; the message names the file and the line."""


def read_list(path: str | Path, encoding: str = "utf-8", mark_allowed: bool = False) -> list[str]:
    """The lines of a list, stripped; Windows line endings are allowed.

    Raises ListError for a path that is not a file, for another encoding, for zero bytes, and,
    unless `mark_allowed`, for a byte order mark, which SimulEval reads as part of the first path.
    """
    path = Path(path)
    if not path.is_file():
        reason = "it is not a file" if path.exists() else "there is no such file"
        raise ListError(f"{path}: cannot be read: {reason}.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ListError(f"{path}: cannot be read: {error.strerror}.") from error
    if data.startswith(_AUDIO):
        raise ListError(f"{path} is a recording; it must be a list with a path in each line.")
    if data.startswith(_WIDE):
        raise ListError(f"{path} is UTF-16 or UTF-32; save it as UTF-8.")
    if data.startswith(codecs.BOM_UTF8) and not mark_allowed:
        raise ListError(
            f"{path}, line 1: begins with a byte order mark; save the list as UTF-8 without it."
        )
    if (zero := data.find(b"\0")) >= 0:
        raise ListError(f"{path}, line {_line(data, zero)}: holds a zero byte; it is no text.")
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode(encoding)
    except UnicodeDecodeError as error:
        raise ListError(
            f"{path}, line {_line(data, error.start)}: byte 0x{data[error.start]:02x} is not "
            f"{encoding.upper()}; save the list as UTF-8. SimulEval cannot open a file whose own "
            "name is in another encoding: rename it."
        ) from error
    return [line.strip() for line in io.StringIO(text, newline=None)]


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1
