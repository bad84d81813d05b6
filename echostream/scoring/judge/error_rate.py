"""What a judge makes of recordings whose words are known: its error rate, and its loops."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from echostream.scoring.judge.normalizer import NORMALIZERS
from echostream.scoring.judge.transcript import JudgeError, Transcript
from echostream.scoring.metrics.quality import DEFAULT_TOKENIZER, Quality, quality
from echostream.scoring.metrics.wer import word_error_rate
from echostream.scoring.texts import references_of

# A judge with more errors than this on the speech of people, in percent, ranks no system.
MOST_ERRORS = 10.0
MOST_WORDS = 2  # of a transcript, per word of its reference; a loop is no longer than that

_NUMBERED = re.compile(r"(\d+)(?:_pred)?\.(?:wav|flac|mp3|ogg)", re.IGNORECASE)


class Recording(NamedTuple):
    """A recording and the words that are spoken in it."""

    path: Path
    text: str


class Comparison(NamedTuple):
    """Transcripts against references: scores in percent, loops, and the texts compared."""

    num: int
    word_error_rate: float
    quality: Quality
    num_looped: int  # they repeat themselves, or were cut at `MOST_WORDS`
    texts: tuple[str, ...]  # transcripts in the form of the normaliser
    references: tuple[tuple[str, ...], ...]  # the choices for each, in that form


def compare(
    transcripts: Sequence[Transcript],
    references: Sequence[str],
    normalizer: str,
    tokenizer: str = DEFAULT_TOKENIZER,
) -> Comparison:
    """Compares transcripts with references, both in the form of the normaliser of that name.

    A tab separates several references of one recording. A transcript is cut at twice the words of
    its longest reference: one loop would otherwise outweigh all others.
    """
    normalize = NORMALIZERS[normalizer]
    choices = [tuple(map(normalize, references_of(line))) for line in references]
    texts, num_looped = [], 0
    for transcript, texts_of_one in zip(transcripts, choices, strict=True):
        words = normalize(transcript.text).split()
        most = MOST_WORDS * max(1, *(len(text.split()) for text in texts_of_one))
        num_looped += transcript.looped or len(words) > most
        texts.append(" ".join(words[:most]))
    return Comparison(
        len(texts),
        word_error_rate(choices, texts),
        quality(texts, choices, tokenizer),
        num_looped,
        tuple(texts),
        tuple(choices),
    )


def read_recordings(place: Path, references: Mapping[int, str]) -> list[Recording]:
    """Recordings of reference speech: a folder of them by number, or a list with their words.

    A folder has a file `N.wav` or `N_pred.wav` for the reference N, counted from 0; numbers that
    are on one side alone are left out. A list has a line for each recording: its path, relative to
    the list, a tab, and its words. Raises JudgeError if there is no recording.
    """
    found = list(_of_folder(place, references) if place.is_dir() else _of_list(place))
    if not found:
        raise JudgeError(
            f"{place}: must be a folder of recordings 0.wav, 1.wav ... or a list of paths and "
            "texts with a tab between them, but holds no recording."
        )
    return found


def _of_folder(folder: Path, references: Mapping[int, str]) -> Iterator[Recording]:
    paths: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if match := _NUMBERED.fullmatch(path.name):
            number = int(match[1])
            if number in paths:
                raise JudgeError(f"{folder}: has {paths[number].name} and {path.name} for one.")
            paths[number] = path
    for number, path in sorted(paths.items()):
        if number in references:
            yield Recording(path, references[number])


def _of_list(path: Path) -> Iterator[Recording]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise JudgeError(f"{path}: cannot be read as a list of recordings: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, tab, text = line.partition("\t")
        if not tab:
            raise JudgeError(
                f"{path}, line {number}: must be a path, a tab and a text, but has no tab."
            )
        if not (path.parent / name).is_file():
            raise JudgeError(f"{path}, line {number}: there is no file {path.parent / name}.")
        yield Recording(path.parent / name, text)
