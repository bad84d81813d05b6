"""Recognises files that are not audio by their first bytes, with advice for the message."""

from __future__ import annotations

HEAD_BYTES = 512  # enough for every kind below

_CONVERT = "convert it, for example with `ffmpeg -i FILE FILE.flac`"
_UNPACK = "unpack it and give the recordings inside"
_DOWNLOAD = "what was downloaded is not the recording; download it again"

# Offset, bytes, kind, advice.
_MAGIC = (
    (4, b"ftyp", "an MPEG-4 file (m4a, mp4, mov)", _CONVERT),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file (mkv, webm)", _CONVERT),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file (wma, wmv, asf)", _CONVERT),
    (0, b"#!AMR", "an AMR file", _CONVERT),
    (0, b"\xff\xf1", "an AAC file", _CONVERT),
    (0, b"\xff\xf9", "an AAC file", _CONVERT),
    (0, b"\x0b\x77", "an AC-3 file", _CONVERT),
    (8, b"AVI ", "an AVI video", _CONVERT),
    (0, b"FLV\x01", "a Flash video", _CONVERT),
    (0, b"wvpk", "a WavPack file", _CONVERT),
    (0, b"MAC ", "a Monkey's Audio file", _CONVERT),
    (0, b"TTA1", "a True Audio file", _CONVERT),
    (0, b"DSD ", "a DSD file", _CONVERT),
    (0, b"MThd", "a MIDI file", "it holds notes, not sound"),
    (0, b"version https://git-lfs", "a Git LFS pointer", "fetch the recording with `git lfs pull`"),
    (0, b"/annex/objects/", "a git-annex pointer", "fetch the recording with `git annex get`"),
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x93NUMPY", "a NumPy array", "save its samples as WAV or FLAC"),
    (0, b"%PDF", "a PDF document", "give a recording"),
    (0, b"\x89PNG", "a PNG image", "give a recording"),
    (0, b"\xff\xd8\xff", "a JPEG image", "give a recording"),
    (0, b"\x7fELF", "a program", "give a recording"),
    (0, b"SQLite format 3\0", "an SQLite database", "give a recording"),
    *(
        (0, bytes([0x80, v]), "a Python pickle", "save its samples as WAV or FLAC")
        for v in range(2, 6)
    ),
)


def surely_not_audio(head: bytes) -> str:
    """Kind and advice for first bytes that no audio file has; else ""."""
    for offset, magic, kind, advice in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return _sentence(kind, advice)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return _sentence("an HTML page", _DOWNLOAD)
    if text.startswith(b"<?xml"):
        return _sentence("an XML document", _DOWNLOAD)
    return ""


def perhaps_not_audio(head: bytes) -> str:
    """The likely kind of a file that could not be read as audio, with advice, or ""."""
    if surely := surely_not_audio(head):
        return surely
    if head and not head.strip(b"\0"):
        return _sentence("nothing but zeros", "copy or download it again")
    if head.startswith(b"NIST_1A"):
        return _sentence("a NIST SPHERE file of an encoding of its own", _CONVERT)
    if head.startswith((b"RIFF", b"OggS", b"fLaC", b"FORM", b"ID3")):
        return f"If another program plays it, {_CONVERT}."
    if not head.isascii() or any(byte < 32 and byte not in b"\t\r\n\f\x1b" for byte in head):
        return f"If another program plays it, {_CONVERT}."
    if head.lstrip().startswith((b"{", b"[")):
        return _sentence("JSON", "give a recording")
    return _sentence("a text file", "give a recording")


def _sentence(kind: str, advice: str) -> str:
    return f"It looks like {kind}: {advice}."
