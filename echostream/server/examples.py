"""Recordings that the page offers beside the microphone, each with its texts."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import soundfile

from echostream.frontend.audio import read_audio


@dataclass(frozen=True)
class Example:
    """A recording, its transcript and its reference translation."""

    path: Path
    transcript: str
    reference: str

    def described(self) -> dict[str, str]:
        """What the page shows of it."""
        return {
            "name": self.path.stem,
            "url": f"/examples/{self.path.name}",
            "transcript": self.transcript,
            "reference": self.reference,
        }

    def wav(self) -> bytes:
        """The recording as 16-bit WAV, which every browser plays."""
        samples, rate = read_audio(self.path)
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
        return buffer.getvalue()


def find_examples(folder: Path, most: int = 12) -> tuple[Example, ...]:
    """The first recordings of a folder with `wav_list.txt`, `src.txt` and `target.txt`.

    Of the paths in the list only the names count. No recordings if there is no list.

    Raises:
        ValueError: if the lists have different lengths, or a recording is missing.
    """
    if not (folder / "wav_list.txt").is_file():
        return ()
    columns = [
        (folder / name).read_text(encoding="utf-8").rstrip("\n").split("\n")
        for name in ("wav_list.txt", "src.txt", "target.txt")
    ]
    if len({len(column) for column in columns}) != 1:
        raise ValueError(f"{folder}: wav_list.txt, src.txt and target.txt must have as many lines.")
    examples = []
    for name, transcript, reference in list(zip(*columns, strict=True))[:most]:
        path = folder / Path(name).name
        if not path.is_file():
            raise ValueError(f"{folder / 'wav_list.txt'} names {name}, which is missing.")
        examples.append(Example(path, transcript, reference))
    return tuple(examples)
