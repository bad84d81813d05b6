"""LibriSpeech (Panayotov et al. 2015): English audio books, without translations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from echostream.data.corpora.entry import CorpusError, Entry, LeftOut, Options
from echostream.data.corpora.layout_files import text_lines


def read_librispeech(options: Options) -> Iterator[Entry | LeftOut]:
    """`<part>/<speaker>/<chapter>/*.flac`, and `*.trans.txt` with lines `id TEXT IN CAPITALS`.

    The parts `train-*` are the training split, `dev-*` the dev split, and each `test-*` a split of
    its own name.
    """
    parts = sorted(
        path
        for path in options.source.glob("*-*")
        if path.name.startswith(("train-", "dev-", "test-")) and path.is_dir()
    )
    if not parts:
        raise CorpusError(
            f"{options.source} must hold folders such as train-clean-100, but holds none."
        )
    for part in parts:
        split = part.name if part.name.startswith("test-") else part.name.partition("-")[0]
        for path in sorted(part.glob("*/*/*.trans.txt")):
            yield from _chapter(path, split)


def _chapter(path: Path, split: str) -> Iterator[Entry | LeftOut]:
    recordings = {file.stem: file for file in path.parent.glob("*.flac")}
    for line in text_lines(path):
        name, _, text = line.partition(" ")
        if not line.strip():
            continue
        audio = recordings.pop(name, path.parent / f"{name}.flac")
        speaker = name.partition("-")[0]
        # Capitals are how the corpus was normalised, not how its sentences are written.
        yield Entry(split, name, audio, text.lower(), None, None, speaker, language="en")
    for name in sorted(recordings):
        yield LeftOut(split, "a recording without a transcript", name)
