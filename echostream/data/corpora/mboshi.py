"""Mboshi-French (Godard et al. 2018, arXiv:1710.03501): one file for each text of an utterance."""

from __future__ import annotations

import html
import random
import re
from collections.abc import Iterator
from pathlib import Path

from echostream.data.corpora.entry import (
    CorpusError,
    Entry,
    LeftOut,
    Options,
    splits_in,
    text_lines,
)

_SOURCE, _TARGET = ".mb.cleaned", ".fr.cleaned"


def read_mboshi(options: Options) -> Iterator[Entry | LeftOut]:
    """The utterances of `train` and `dev`; the latter is the test set of all publications.

    `held_out` utterances of `train`, chosen by the seed, become the dev set. The French text is
    that of `.fr.cleaned` without its tokenisation.
    """
    folders = splits_in(options.source, {"train": "train", "test": "dev"})
    for split, folder in folders.items():
        paths = sorted(folder.glob("*.wav"))
        held_out: set[Path] = set()
        if split == "train" and options.held_out:
            if options.held_out >= len(paths):
                raise CorpusError(
                    f"`--held-out` must be less than the {len(paths)} recordings of {folder}, but "
                    f"is {options.held_out}."
                )
            held_out = set(random.Random(options.seed).sample(paths, options.held_out))
        for path in paths:
            ours = "dev" if path in held_out else split
            texts = path.with_suffix(_SOURCE), path.with_suffix(_TARGET)
            if missing := [text for text in texts if not text.is_file()]:
                yield LeftOut(ours, f"no {missing[0].name.partition('.')[2]}", path.stem)
                continue
            source, target = (" ".join(text_lines(text)) for text in texts)
            speaker = path.stem.partition("_")[0]
            yield Entry(
                ours, path.stem, path, source, untokenised(target), None, speaker, language="mdw"
            )


def untokenised(text: str) -> str:
    """A text without Moses' tokenisation: `l&apos; eau` becomes `l'eau`."""
    return re.sub(r"(?<=\w)\s*'\s+(?=\w)", "'", html.unescape(text))
