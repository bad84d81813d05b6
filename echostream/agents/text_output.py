"""The token format of the text for SimulEval, whose versions join tokens in different ways.

PyPI and HEAD join tokens with spaces. StreamSpeech's copy joins them without spaces and replaces
each "▁" by a space, so plain words would run together there. Both count every token as one unit of
latency.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable
from enum import Enum

import sentencepiece as spm

from echostream.doctor.build import joins_pieces
from echostream.text.tokenizer import WORD_START, Tokenizer

logger = logging.getLogger(__name__)

Segmenter = Callable[[str], list[str]]  # a text to SentencePiece pieces


class TokenFormat(Enum):
    """The format of a WRITE; in the comments that of the words `the cat`."""

    WORDS = "word"  # the cat
    MARKED = "marked word"  # ▁the ▁cat
    PIECES = "spm"  # ▁th e ▁c at


# The format of `auto`, by the unit of latency and by whether the installed SimulEval joins pieces
# with that unit.
AUTO = {
    ("word", False): TokenFormat.WORDS,
    # The reference is counted in words, so a word must stay one token.
    ("word", True): TokenFormat.MARKED,
    ("char", False): TokenFormat.WORDS,
    # The reference is counted in pieces.
    ("spm", True): TokenFormat.PIECES,
}
CHOICES = {"auto": None, "word": TokenFormat.WORDS, "spm": TokenFormat.PIECES}


def choose_format(choice: str, latency_unit: str) -> TokenFormat:
    """The format of `--text-output` for the installed SimulEval.

    Warns if this SimulEval does not join that format to plain text. Raises `ValueError` for another
    choice, and for a latency unit for which there is no `auto`.
    """
    if choice not in CHOICES:
        raise ValueError(
            f"`text_output` must be one of {', '.join(CHOICES)}, but is {choice!r} instead."
        )
    joins = joins_pieces(latency_unit)
    wanted = CHOICES[choice]
    if wanted is None:
        if (latency_unit, joins) not in AUTO:
            raise ValueError(
                f"`text_output` cannot be auto with `eval_latency_unit` {latency_unit!r} in this "
                "SimulEval: choose word or spm."
            )
        return AUTO[latency_unit, joins]
    if joins is not (wanted is TokenFormat.PIECES):
        fault = "have no spaces" if joins else f"be pieces, with {WORD_START} in them"
        logger.warning(
            "`text_output` is %s, but this SimulEval joins %s: predictions will %s.",
            choice,
            "pieces" if joins else "words",
            fault,
        )
    return wanted


def check_unit(emission_unit: str, latency_unit: str | None) -> None:
    """Checks the emission unit of a session against the latency unit of SimulEval.

    `latency_unit` is None for callers other than SimulEval, whose joining is not known.

    Raises `ValueError` for characters counted as words: each WRITE would become a word. Warns of
    words counted as characters.
    """
    if emission_unit == "char" and latency_unit == "word":
        raise ValueError(
            "`--eval-latency-unit` must be char (or spm) if the emission unit is char, because "
            "each WRITE would become a word, but is word instead; "
            "with `--emission-unit word`, text without spaces is only written at the end."
        )
    if emission_unit == "word" and latency_unit == "char":
        logger.warning(
            "`--eval-latency-unit` is char, so SimulEval removes the spaces of predictions, but "
            "the emission unit is word: use word, or `--emission-unit char` for a language "
            "without spaces."
        )


class TextOutput:
    """Converts new text of a session to the text of a WRITE, with one space between tokens.

    Args:
        token_format: see `TokenFormat`.
        segment: pieces of a word, for the format PIECES. A word that differs from the text of its
            pieces (with unknown characters, say) is written whole, after one word mark.
        emission_unit: of the session, "word" or "char". Characters are written unchanged; with
            PIECES, the characters of one WRITE are segmented together.
    """

    def __init__(
        self, token_format: TokenFormat, segment: Segmenter, emission_unit: str = "word"
    ) -> None:
        self.token_format = token_format
        self.emission_unit = emission_unit
        self._segment = segment

    def __call__(self, text: str, is_first: bool = True) -> str:
        """The text of a WRITE; `is_first` for the first text of an utterance."""
        if self.token_format is TokenFormat.WORDS or not text:
            return text
        if self.emission_unit == "word":
            return " ".join(token for word in text.split() for token in self._tokens(word))
        marked = text.replace(" ", WORD_START)
        return " ".join(self._split(text, (WORD_START if is_first else "") + marked))

    def _tokens(self, word: str) -> list[str]:
        return self._split(word, WORD_START + word)

    def _split(self, text: str, marked: str) -> list[str]:
        """The pieces of a text if their concatenation is `marked`, else `marked` alone."""
        if self.token_format is not TokenFormat.PIECES:
            return [marked]
        pieces = self._segment(text)  # the first one always begins with a mark
        if not marked.startswith(WORD_START):
            pieces = [piece for piece in (pieces[0].removeprefix(WORD_START), *pieces[1:]) if piece]
        return pieces if "".join(pieces) == marked else [marked]


def make_text_output(
    args: Namespace, tokenizer: Tokenizer, emission_unit: str = "word"
) -> TextOutput:
    """The text output for a command line; `tokenizer` is that of the output language.

    If SimulEval counts the reference in pieces of `--eval-latency-spm-model`, words are segmented
    with that model, so that both are counted in the same pieces.

    Raises `ValueError` as `choose_format` and `check_unit`.
    """
    requested = _latency_unit(args)
    check_unit(emission_unit, requested)
    if requested is None and emission_unit == "char" and args.text_output == "auto":
        return TextOutput(TokenFormat.WORDS, tokenizer_pieces(tokenizer), emission_unit)
    unit = requested or "word"
    token_format = choose_format(args.text_output, unit)
    counted_with = getattr(args, "eval_latency_spm_model", None)
    if unit == "spm" and counted_with is not None:
        model = spm.SentencePieceProcessor(model_file=counted_with)
        return TextOutput(
            token_format, lambda text: list(model.encode(text, out_type=str)), emission_unit
        )
    return TextOutput(token_format, tokenizer_pieces(tokenizer), emission_unit)


def tokenizer_pieces(tokenizer: Tokenizer) -> Segmenter:
    """The pieces in which a tokenizer encodes text."""
    return lambda text: list(map(tokenizer.piece, tokenizer.encode(text)))


def _latency_unit(args: Namespace) -> str | None:
    """SimulEval's `--eval-latency-unit`, or the latency unit of simulstream's agent wrapper."""
    for name in ("eval_latency_unit", "latency_unit"):
        unit: str | None = getattr(args, name, None)
        if unit is not None:
            return unit
    return None
