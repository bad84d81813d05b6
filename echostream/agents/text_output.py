"""The form in which words go to SimulEval, whose builds put text together in different ways.

PyPI and HEAD put a space between the tokens that they receive. StreamSpeech's copy puts nothing
between them and turns each "▁" into a space, so plain words would run together there. Both count
every token as one unit of latency.
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


class Form(Enum):
    """How the words `the cat` are written."""

    WORDS = "word"  # the cat
    MARKED = "marked word"  # ▁the ▁cat
    PIECES = "spm"  # ▁th e ▁c at


# What `auto` chooses, by the unit in which latency is counted and by whether the installed build
# joins pieces under that unit.
AUTO = {
    ("word", False): Form.WORDS,
    # The reference is counted in words, so a word must stay one token.
    ("word", True): Form.MARKED,
    ("char", False): Form.WORDS,
    # The reference is counted in pieces.
    ("spm", True): Form.PIECES,
}
CHOICES = {"auto": None, "word": Form.WORDS, "spm": Form.PIECES}


def choose_form(choice: str, latency_unit: str) -> Form:
    """The form that `--text-output` stands for under the installed build.

    A form that this build does not turn into text is warned of. Raises `ValueError` for another
    choice, and for a unit that `auto` does not know.
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
    if joins is not (wanted is Form.PIECES):
        fault = "have no spaces" if joins else f"be pieces, with {WORD_START} in them"
        logger.warning(
            "`text_output` is %s, but this SimulEval joins %s: predictions will %s.",
            choice,
            "pieces" if joins else "words",
            fault,
        )
    return wanted


def check_unit(emission_unit: str, latency_unit: str | None) -> None:
    """Compares what a session gives out with the unit in which SimulEval counts and joins tokens.

    None is for callers other than SimulEval, which may join as they like.

    Raises `ValueError` for characters counted as words: SimulEval would make a word of each WRITE.
    Words counted as characters are warned of.
    """
    if emission_unit == "char" and latency_unit == "word":
        raise ValueError(
            "`--eval-latency-unit` must be char (or spm) for text that is given out by the "
            "character, because SimulEval would make a word of each write, but is word instead; "
            "with `--emission-unit word`, text without spaces waits for the end of the source."
        )
    if emission_unit == "word" and latency_unit == "char":
        logger.warning(
            "`--eval-latency-unit` is char, so SimulEval takes the spaces out of predictions, but "
            "text is given out by the word: use word, or `--emission-unit char` for a language "
            "without spaces."
        )


class TextOutput:
    """The text of a WRITE, with one space between its tokens, from new text of a session.

    Args:
        form: see `Form`.
        segment: pieces of a word, for the form PIECES. A word that its pieces do not spell (it has
            unknown characters, say) goes out whole, behind one mark.
        emission_unit: what the session gives out, "word" or "char". Characters go out as they are,
            which leaves the joining to SimulEval; in pieces, those of one write are cut together.
    """

    def __init__(self, form: Form, segment: Segmenter, emission_unit: str = "word") -> None:
        self.form = form
        self.emission_unit = emission_unit
        self._segment = segment

    def __call__(self, text: str, begins: bool = True) -> str:
        """The WRITE for new text; `begins` for the first text of an utterance."""
        if self.form is Form.WORDS or not text:
            return text
        if self.emission_unit == "word":
            return " ".join(token for word in text.split() for token in self._tokens(word))
        marked = text.replace(" ", WORD_START)
        return " ".join(self._spelt(text, (WORD_START if begins else "") + marked))

    def _tokens(self, word: str) -> list[str]:
        return self._spelt(word, WORD_START + word)

    def _spelt(self, text: str, marked: str) -> list[str]:
        """The pieces of a text, if together they are what it must be with its marks."""
        if self.form is not Form.PIECES:
            return [marked]
        pieces = self._segment(text)  # a mark stands before the first word, wanted or not
        if not marked.startswith(WORD_START):
            pieces = [piece for piece in (pieces[0].removeprefix(WORD_START), *pieces[1:]) if piece]
        return pieces if "".join(pieces) == marked else [marked]


def make_text_output(
    args: Namespace, tokenizer: Tokenizer, emission_unit: str = "word"
) -> TextOutput:
    """The form that a command line asks for; `tokenizer` is that of the language written.

    Where SimulEval counts the reference in the pieces of `--eval-latency-spm-model`, words are cut
    with that model, so that both are counted alike.

    Raises `ValueError` as `choose_form` and `check_unit`.
    """
    asked = _latency_unit(args)
    check_unit(emission_unit, asked)
    if asked is None and emission_unit == "char" and args.text_output == "auto":
        return TextOutput(Form.WORDS, tokenizer_pieces(tokenizer), emission_unit)
    unit = asked or "word"
    form = choose_form(args.text_output, unit)
    counted_with = getattr(args, "eval_latency_spm_model", None)
    if unit == "spm" and counted_with is not None:
        model = spm.SentencePieceProcessor(model_file=counted_with)
        return TextOutput(form, lambda text: list(model.encode(text, out_type=str)), emission_unit)
    return TextOutput(form, tokenizer_pieces(tokenizer), emission_unit)


def tokenizer_pieces(tokenizer: Tokenizer) -> Segmenter:
    """The pieces in which a tokenizer encodes text."""
    return lambda text: list(map(tokenizer.piece, tokenizer.encode(text)))


def _latency_unit(args: Namespace) -> str | None:
    """SimulEval's `--eval-latency-unit`, or the unit that simulstream's wrapper of agents has."""
    for name in ("eval_latency_unit", "latency_unit"):
        unit: str | None = getattr(args, name, None)
        if unit is not None:
            return unit
    return None
