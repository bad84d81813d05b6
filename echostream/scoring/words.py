"""From the units that a build counted to words: which delay completes a word.

A word is complete when its last unit is. If units are SentencePiece pieces, a build may count them
one by one and the reference in words, as StreamSpeech's copy of SimulEval does for StreamSpeech's
agents: its AL is then lower than that of the same words. The pieces of a word are found, in this
order, from

- the pieces themselves, if the log holds them (`prediction_spm`, or a prediction of pieces);
- the number of delays, if it is that of the words: then each is a word;
- a SentencePiece model that splits the prediction into as many pieces as there are delays.

Otherwise the words are unknown; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import sentencepiece

from echostream.scoring.log import Utterance
from echostream.scoring.texts import characters, characters_with_times
from echostream.text.tokenizer import WORD_START

Unit = Literal["word", "joined", "piece", "spm", "char", "write"]


def unit_of(utterances: Sequence[Utterance], configured: str | None = None) -> Unit:
    """The unit of one delay of a log; `configured` decides if words of one character allow both.

    word: a word of the prediction. joined: also a word, but the build joined the words without
    spaces (it expects SentencePiece's word marks, which the agent did not write). piece: a
    SentencePiece piece, with references counted in words. spm: a piece, with references counted in
    pieces. char: a character. write: one write of speech.
    """
    if any(utterance.is_speech for utterance in utterances):
        return "write"
    nonempty = [utterance for utterance in utterances if utterance.delays]
    if any(utterance.pieces is not None for utterance in nonempty):
        return "spm"
    by_character = all(map(_is_character_by_character, nonempty))
    if all(map(_is_word_by_word, nonempty)) and not (configured == "char" and by_character):
        return "word"
    if by_character:
        return "char"
    if any(character.isspace() for one in nonempty for character in one.prediction):
        return "piece"
    # Pieces would give spaces: each that begins a word brings one, the first included.
    return "joined"


def text_of(utterance: Utterance) -> str:
    """The prediction as words; pieces that the build separated with spaces are joined."""
    if WORD_START not in utterance.prediction:
        return utterance.prediction
    return "".join(utterance.prediction.split()).replace(WORD_START, " ").strip()


def word_ends(
    utterance: Utterance, unit: Unit, processor: sentencepiece.SentencePieceProcessor | None
) -> tuple[int, ...] | None:
    """The position of the last unit of each word among the delays; None if unknown."""
    if unit == "joined" or (unit != "spm" and _is_word_by_word(utterance)):
        return tuple(range(len(utterance.delays)))
    if unit not in ("piece", "spm"):
        return None
    shown = utterance.prediction.split()
    if utterance.pieces:
        pieces: Sequence[str] = utterance.pieces
    elif len(shown) == len(utterance.delays):
        pieces = shown
    elif processor is not None:
        pieces = processor.encode(utterance.prediction.strip(), out_type=str)
    else:
        return None
    ends = _ends(pieces)
    known = len(pieces) == len(utterance.delays) and len(ends) == len(text_of(utterance).split())
    return ends if known else None


def characters_of(
    utterance: Utterance, unit: Unit, times: Sequence[tuple[float, ...]]
) -> tuple[list[str], list[tuple[float, ...]]] | None:
    """The characters of an utterance, without spaces, each with the times of its unit.

    `times` has a tuple for each unit. None if the characters of the units are unknown.
    """
    if unit == "char":
        return characters_with_times(utterance.prediction, times)
    tokens = (
        utterance.pieces if unit == "spm" and utterance.pieces else utterance.prediction.split()
    )
    if unit == "joined" or len(tokens) != len(times):
        return None
    found: list[str] = []
    found_times: list[tuple[float, ...]] = []
    for token, time in zip(tokens, times, strict=True):
        new = characters(token.replace(WORD_START, ""))
        found += new
        found_times += [time] * len(new)
    return found, found_times


def load_pieces(path: Path) -> sentencepiece.SentencePieceProcessor:
    """Reads a SentencePiece model. Raises OSError or ValueError naming the path if it cannot."""
    data = path.read_bytes()
    try:
        if not data:
            raise RuntimeError("the file is empty")
        return sentencepiece.SentencePieceProcessor(model_proto=data)
    except RuntimeError as error:
        raise ValueError(f"{path} is not a SentencePiece model: {error}") from error


def _is_character_by_character(utterance: Utterance) -> bool:
    """Each delay is that of a character; SimulEval removes spaces, but no other white space."""
    return " " not in utterance.prediction and len(utterance.prediction) == len(utterance.delays)


def _is_word_by_word(utterance: Utterance) -> bool:
    """Each delay is that of a word, and no word contains SentencePiece's word mark."""
    tokens = utterance.prediction.split()
    return len(tokens) == len(utterance.delays) and not any(WORD_START in token for token in tokens)


def _ends(pieces: Sequence[str]) -> tuple[int, ...]:
    ends = []
    word = ""
    for position, piece in enumerate(pieces):
        word += piece.replace(WORD_START, "")
        is_last = position + 1 == len(pieces) or pieces[position + 1].startswith(WORD_START)
        if is_last and word:
            ends.append(position)
            word = ""
    return tuple(ends)
