"""From the units that a build counted to words: which delay is that of a whole word.

A word is there when its last unit is. Where units are SentencePiece pieces, a build may count
them one by one while it counts the reference in words, as StreamSpeech's copy of SimulEval does
for StreamSpeech's agents: its AL is then lower than that of the same words. Which pieces make a
word is found, in this order, in

- the pieces themselves, where the log holds them (`prediction_spm`, or a prediction of pieces);
- the number of delays, where it is that of the words: then each is a word of its own;
- a SentencePiece model that cuts the prediction into as many pieces as there are delays.

Otherwise the log does not tell, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import sentencepiece

from echostream.scoring.log import Entry
from echostream.scoring.texts import characters, characters_with_times

WORD_START = "▁"

Unit = Literal["word", "joined", "piece", "spm", "char", "write"]


def unit_of(entries: Sequence[Entry], asked: str | None = None) -> Unit:
    """What a delay of this log stands for; `asked` decides where words of one character allow both.

    word: a word of the prediction. joined: a word, too, but the build wrote the words without
    spaces (it expects SentencePiece's marks, which the agent did not write). piece: a piece,
    while references are counted in words. spm: the latency unit of that name, which counts
    references in pieces as well. char: a character. write: a piece of speech.
    """
    if any(entry.is_speech for entry in entries):
        return "write"
    spoken = [entry for entry in entries if entry.delays]
    if any(entry.pieces is not None for entry in spoken):
        return "spm"
    by_character = all(map(_is_character_by_character, spoken))
    if all(map(_is_word_by_word, spoken)) and not (asked == "char" and by_character):
        return "word"
    if by_character:
        return "char"
    if any(character.isspace() for entry in spoken for character in entry.prediction):
        return "piece"
    # A piece that begins a word brings a space, also before the first: these are no pieces.
    return "joined"


def text_of(entry: Entry) -> str:
    """The prediction as words: pieces that a build has joined with spaces are put together."""
    if WORD_START not in entry.prediction:
        return entry.prediction
    return "".join(entry.prediction.split()).replace(WORD_START, " ").strip()


def word_ends(
    entry: Entry, unit: Unit, processor: sentencepiece.SentencePieceProcessor | None
) -> tuple[int, ...] | None:
    """For each word of an entry the place of its last unit among the delays; None if not known."""
    if unit == "joined" or (unit != "spm" and _is_word_by_word(entry)):
        return tuple(range(len(entry.delays)))
    if unit not in ("piece", "spm"):
        return None
    shown = entry.prediction.split()
    if entry.pieces:
        pieces: Sequence[str] = entry.pieces
    elif len(shown) == len(entry.delays):
        pieces = shown
    elif processor is not None:
        pieces = processor.encode(entry.prediction.strip(), out_type=str)
    else:
        return None
    ends = _ends(pieces)
    known = len(pieces) == len(entry.delays) and len(ends) == len(text_of(entry).split())
    return ends if known else None


def characters_of(
    entry: Entry, unit: Unit, times: Sequence[tuple[float, ...]]
) -> tuple[list[str], list[tuple[float, ...]]] | None:
    """The characters of an entry, without spaces, each with the times of its unit.

    `times` has a tuple for each unit. None where it is not known which characters a unit has.
    """
    if unit == "char":
        return characters_with_times(entry.prediction, times)
    tokens = entry.pieces if unit == "spm" and entry.pieces else entry.prediction.split()
    if unit == "joined" or len(tokens) != len(times):
        return None
    found: list[str] = []
    whens: list[tuple[float, ...]] = []
    for token, when in zip(tokens, times, strict=True):
        new = characters(token.replace(WORD_START, ""))
        found += new
        whens += [when] * len(new)
    return found, whens


def load_pieces(path: Path) -> sentencepiece.SentencePieceProcessor:
    """A SentencePiece model. Raises OSError or ValueError naming the path if it is none."""
    data = path.read_bytes()
    try:
        if not data:
            raise RuntimeError("the file is empty")
        return sentencepiece.SentencePieceProcessor(model_proto=data)
    except RuntimeError as error:
        raise ValueError(f"{path} is not a SentencePiece model: {error}") from error


def _is_character_by_character(entry: Entry) -> bool:
    """Each delay is that of a character; SimulEval takes out spaces, but no others."""
    return " " not in entry.prediction and len(entry.prediction) == len(entry.delays)


def _is_word_by_word(entry: Entry) -> bool:
    """Each delay is that of a word, and no word shows a mark of SentencePiece."""
    tokens = entry.prediction.split()
    return len(tokens) == len(entry.delays) and not any(WORD_START in token for token in tokens)


def _ends(pieces: Sequence[str]) -> tuple[int, ...]:
    ends = []
    word = ""
    for place, piece in enumerate(pieces):
        word += piece.replace(WORD_START, "")
        is_last = place + 1 == len(pieces) or pieces[place + 1].startswith(WORD_START)
        if is_last and word:
            ends.append(place)
            word = ""
    return tuple(ends)
