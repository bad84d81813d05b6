"""A SentencePiece vocabulary of StreamSpeech, `spm_unigram_*.model` and `.txt`.

SimulEval can count latency in pieces, and such figures are comparable only between equal
vocabularies; therefore StreamSpeech's is compared with that of the model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import sentencepiece as spm

from echostream.ranges import shown
from echostream.text.tokenizer import UNK_ID, Tokenizer

# The first ids of every fairseq dictionary, which its text file does not list.
SPECIAL_PIECES = ("<s>", "<pad>", "</s>", "<unk>")


_MAX_BYTES = 2**26  # a vocabulary of a million pieces has less


class VocabularyError(ValueError):
    """A vocabulary that cannot be read; the message names the file, and the line where it can."""


@dataclass(frozen=True)
class ForeignVocabulary:
    """The pieces of `path` by id: 0 to 3 are `SPECIAL_PIECES`; 0 is also the CTC blank."""

    path: Path
    pieces: tuple[str, ...]

    def fits(self, tokenizer: Tokenizer) -> bool:
        """Whether `tokenizer` has the same pieces in the same order, special ones aside."""
        own = [tokenizer.piece(index) for index in range(UNK_ID + 1, tokenizer.vocab_size)]
        return list(self.pieces[len(SPECIAL_PIECES) :]) == own


def read_vocabularies(folder: Path) -> tuple[ForeignVocabulary, ...]:
    """The vocabularies of a folder and of its immediate subfolders, in the order of their paths.

    Raises `VocabularyError` as `read_vocabulary` does, and `OSError`.
    """
    stems = {
        path.with_suffix("")
        for pattern in ("spm_unigram_*", "*/spm_unigram_*")
        for path in folder.glob(pattern)
        if path.suffix in (".txt", ".model")
    }
    return tuple(read_vocabulary(stem) for stem in sorted(stems))


def read_vocabulary(stem: Path) -> ForeignVocabulary:
    """The vocabulary of `STEM.txt` (`piece count`, a line for each id from 4 on) or `STEM.model`.

    Raises `VocabularyError` for a file that is neither, and if both are there and differ.
    """
    text, model = stem.with_name(f"{stem.name}.txt"), stem.with_name(f"{stem.name}.model")
    found = [
        ForeignVocabulary(path, read(path))
        for path, read in ((text, _read_text), (model, _read_model))
        if path.is_file()
    ]
    if not found:
        raise VocabularyError(f"{stem} must have a file {text.name} or {model.name}.")
    if found[0].pieces != found[-1].pieces:
        raise VocabularyError(
            f"{text} and {model} must hold the same pieces, but differ: with the "
            f"{len(SPECIAL_PIECES)} special ones they have {len(found[0].pieces)} and "
            f"{len(found[-1].pieces)}."
        )
    return found[0]


def _read_text(path: Path) -> tuple[str, ...]:
    pieces = list(SPECIAL_PIECES)
    # Not splitlines: a piece may hold other line boundaries of Python, such as U+2028.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not (line := line.rstrip("\r")):
            continue
        match = re.fullmatch(r"(.+) \d+( #fairseq:overwrite)?", line)
        if match is None:
            raise VocabularyError(
                f"{path}, line {number}: must be a piece and a count, but is {shown(line)} instead."
            )
        pieces.append(match[1])
    return tuple(pieces)


def _text(path: Path) -> str:
    try:
        return _content(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path} is not text: {error}") from error


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise VocabularyError(f"{path} must have at most {_MAX_BYTES} bytes, but has more.")
    return content


def _read_model(path: Path) -> tuple[str, ...]:
    data = _content(path)
    if not data:  # SentencePiece accepts an empty model and crashes when it is used
        raise VocabularyError(f"{path} is not a SentencePiece model: the file is empty.")
    try:
        processor = spm.SentencePieceProcessor(model_proto=data)
        pieces = tuple(processor.id_to_piece(index) for index in range(processor.get_piece_size()))
    except (RuntimeError, UnicodeDecodeError) as error:
        raise VocabularyError(f"{path} is not a SentencePiece model: {error}") from error
    if pieces[: len(SPECIAL_PIECES)] != SPECIAL_PIECES:
        raise VocabularyError(
            f"{path} must begin with the pieces {' '.join(SPECIAL_PIECES)}, but begins with "
            f"{' '.join(pieces[: len(SPECIAL_PIECES)])} instead."
        )
    return pieces
