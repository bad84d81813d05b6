"""Mboshi-French (Godard et al. 2018, arXiv:1710.03501): one file for each text of an utterance."""

from __future__ import annotations

import html
import random
import re
from collections.abc import Iterator
from pathlib import Path

from echostream.data.corpora.entry import CorpusError, Entry, LeftOut, Options
from echostream.data.corpora.layout_files import splits_in, text_lines

_SOURCE, _TARGET = ".mb.cleaned", ".fr.cleaned"


def read_mboshi(options: Options) -> Iterator[Entry | LeftOut]:
    """The utterances of `train` and `dev`; the latter is the test set of all publications.

    `held_out` utterances of `train`, chosen by the seed, become the dev set. The French text is
    that of `.fr.cleaned` without its tokenisation.
    """
    folders = splits_in(options.source, {"train": "train", "test": "dev"})
    for split, folder in folders.items():
        whole = []
        for path in sorted(folder.glob("*.wav")):
            missing = [kind for kind in (_SOURCE, _TARGET) if not path.with_suffix(kind).is_file()]
            if missing:
                yield LeftOut(split, f"no {missing[0].removeprefix('.')}", path.stem)
            else:
                whole.append(path)
        held_out: set[Path] = set()
        if split == "train" and options.held_out:
            if options.held_out >= len(whole):
                raise CorpusError(
                    f"`--held-out` must be less than the {len(whole)} utterances of {folder}, but "
                    f"is {options.held_out}."
                )
            held_out = set(random.Random(options.seed).sample(whole, options.held_out))
        for path in whole:
            ours = "dev" if path in held_out else split
            texts = (text_lines(path.with_suffix(kind)) for kind in (_SOURCE, _TARGET))
            source, target = (" ".join(lines) for lines in texts)
            speaker = path.stem.partition("_")[0]
            yield Entry(
                ours, path.stem, path, source, untokenised(target), None, speaker, language="mdw"
            )


def untokenised(text: str) -> str:
    """A text without Moses' tokenisation: `l&apos; eau` becomes `l'eau`."""
    return re.sub(r"(?<=\w)\s*'\s+(?=\w)", "'", html.unescape(text))
