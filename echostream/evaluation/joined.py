"""Streams of several recordings, and the files that evaluations of them read."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from echostream.files import make_folder, write_whole
from echostream.frontend.audio import clean, read_audio
from echostream.frontend.resample import resample
from echostream.frontend.save_audio import save_audio
from echostream.streaming import SAMPLE_RATE

SOURCE, TARGET = "source.txt", "target.txt"  # the lists of SimulEval
AUDIO_YAML, REFERENCE = "audio.yaml", "reference.txt"  # a segment for each of the recordings


@dataclass(frozen=True)
class Stream:
    """Recordings one after the other, with silence between them."""

    samples: NDArray[np.float32]  # (S,) at 16 kHz
    references: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]  # of each recording: its first sample, and its samples

    @property
    def reference(self) -> str:
        """The text of the whole."""
        return " ".join(self.references)


def load(path: Path) -> NDArray[np.float32]:
    """A recording as mono at 16 kHz, (S,)."""
    samples, sample_rate = read_audio(path)
    return resample(clean(samples)[0], sample_rate, SAMPLE_RATE)


def join(
    recordings: Sequence[NDArray[np.float32]],
    references: Sequence[str],
    joined: int,
    pause_ms: int,
) -> list[Stream]:
    """Streams of `joined` recordings (S,) at 16 kHz; the last one may have fewer."""
    pause = np.zeros(SAMPLE_RATE * pause_ms // 1000, np.float32)
    streams = []
    for start in range(0, len(recordings), joined):
        parts: list[NDArray[np.float32]] = []
        spans, position = [], 0
        for samples in recordings[start : start + joined]:
            if parts:
                parts.append(pause)
                position += len(pause)
            parts.append(samples)
            spans.append((position, len(samples)))
            position += len(samples)
        texts = tuple(references[start : start + joined])
        streams.append(Stream(np.concatenate(parts), texts, tuple(spans)))
    return streams


def write_streams(streams: Sequence[Stream], folder: Path) -> list[Path]:
    """Writes streams as WAV with the lists of SimulEval and the segments; the paths of the WAVs.

    A WAV that is there already with the same samples is left: evaluations of it are not repeated.
    Raises OSError naming the file.
    """
    make_folder(folder)
    paths = [folder.absolute() / f"stream-{number:04d}.wav" for number in range(len(streams))]
    segments = []
    for path, stream in zip(paths, streams, strict=True):
        _write_new(path, stream.samples)
        segments += [
            {"wav": path.name, "offset": first / SAMPLE_RATE, "duration": size / SAMPLE_RATE}
            for first, size in stream.spans
        ]
    lines = {
        SOURCE: map(str, paths),
        TARGET: (stream.reference for stream in streams),
        REFERENCE: (text for stream in streams for text in stream.references),
    }
    for name, texts in lines.items():
        write_whole(folder / name, "".join(f"{text}\n" for text in texts))
    write_whole(folder / AUDIO_YAML, yaml.safe_dump(segments, sort_keys=False))
    return paths


def _write_new(path: Path, samples: NDArray[np.float32]) -> None:
    """Writes a recording (S,) unless the file has it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        new = Path(folder) / path.name
        save_audio(new, samples)
        if not path.exists() or path.read_bytes() != new.read_bytes():
            new.replace(path)
