"""Transcripts on disk: one JSON line each in `asr_transcripts.jsonl` beside the log.

A line holds for one judge and one audio, whose SHA-256 is its key: what is there is not transcribed
again, and after a change of either it is. Each line is written as soon as it is known; one that a
killed process has cut off is left out and transcribed again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, NamedTuple

from echostream.files import write_whole
from echostream.scoring.judge.transcript import Transcript, Word

TRANSCRIPTS = "asr_transcripts.jsonl"


class Key(NamedTuple):
    """What a transcript depends on."""

    judge: str
    audio: str  # SHA-256 of the samples and their rate


class Entry(NamedTuple):
    """A recording that is transcribed: utterance, version of its silence, key."""

    utterance: int
    version: str
    key: Key


class Store:
    """The transcripts of one run."""

    def __init__(self, path: Path, known: dict[Key, Transcript]) -> None:
        """Reads the lines that are there into `known`, which other runs may share.

        Raises OSError if the file cannot be read.
        """
        self._path = path
        self._found = known
        self._written: set[Entry] = set()
        self._ends_open = False  # the last line was cut off
        if path.exists():
            data = path.read_bytes()
            self._ends_open = not data.endswith(b"\n") and bool(data)
            for line in data.split(b"\n"):
                self._read(line)

    def find(self, key: Key, word_times: bool) -> Transcript | None:
        """The transcript of a key, with its words if these are asked for; None if there is none."""
        found = self._found.get(key)
        return None if found is None or (word_times and found.words is None) else found

    def add(self, entry: Entry, transcript: Transcript) -> None:
        """Keeps a transcript, in memory and at the end of the file. Raises OSError."""
        if entry in self._written and self._found.get(entry.key) == transcript:
            return
        line = json.dumps(
            {
                "index": entry.utterance,
                "version": entry.version,
                "transcript": transcript.text,
                "looped": transcript.looped,
                "words": transcript.words,  # text, start and end in s
                "judge": entry.key.judge,
                "audio_sha256": entry.key.audio,
            },
            ensure_ascii=False,
        )
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(("\n" if self._ends_open else "") + line + "\n")
        self._ends_open = False
        self._found[entry.key] = transcript
        self._written.add(entry)

    def forget(self, keys: Set[Key]) -> None:
        """Removes the transcripts of keys, in memory and in the file. Raises OSError."""
        self._written = {entry for entry in self._written if entry.key not in keys}
        for key in keys:
            self._found.pop(key, None)
        if self._path.exists():
            lines = self._path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if _key_of(line) not in keys]
            write_whole(self._path, b"".join(kept))

    def _read(self, line: bytes) -> None:
        try:
            logged: Any = json.loads(line)
            entry = Entry(logged["index"], logged["version"], _key(logged))
            words = logged["words"]
            transcript = Transcript(
                _text(logged["transcript"]),
                None if words is None else tuple(_words(words)),
                bool(logged["looped"]),
            )
            self._found[entry.key] = transcript
            self._written.add(entry)
        except (ValueError, TypeError, KeyError, RecursionError):
            return  # cut off, or not ours: its recording is transcribed again


def _key(logged: Any) -> Key:
    return Key(logged["judge"], logged["audio_sha256"])


def _key_of(line: bytes) -> Key | None:
    """The key of a line; None if it is not one of ours."""
    try:
        return _key(json.loads(line))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _words(words: Any) -> Iterator[Word]:
    for text, start, end in words:
        if not (0 <= start <= end and math.isfinite(end)):
            raise ValueError("times of a word must not go back")
        yield Word(_text(text), float(start), float(end))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("must be a text")
    return value
