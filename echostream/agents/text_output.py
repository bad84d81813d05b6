"""The form in which words go to SimulEval, whose builds put text together in different ways.

PyPI and HEAD put a space between the tokens that they receive. StreamSpeech's copy puts nothing
between them and turns each "▁" into a space, so plain words would run together there. Both count
every token as one unit of latency.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable, Sequence
from enum import Enum

import sentencepiece as spm
from simuleval.evaluator.instance import TextOutputInstance

from echostream.tokenizer import WORD_START, Tokenizer

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


def joins_pieces(latency_unit: str) -> bool:
    """Whether the installed SimulEval joins tokens without spaces and makes spaces of "▁"."""
    probe = TextOutputInstance.__new__(TextOutputInstance)
    probe.latency_unit = latency_unit
    probe.prediction_list = [WORD_START + "a", WORD_START + "b"]
    return bool(probe.prediction.strip() == "a b")


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


class TextOutput:
    """Words to the text of a WRITE, with one space between its tokens.

    Args:
        form: see `Form`.
        segment: pieces of a word, for the form PIECES. A word that its pieces do not spell (it has
            unknown characters, say) goes out whole, behind one mark.
    """

    def __init__(self, form: Form, segment: Segmenter) -> None:
        self.form = form
        self._segment = segment

    def __call__(self, words: Sequence[str]) -> str:
        """The text of whole words."""
        return " ".join(token for word in words for token in self._tokens(word))

    def _tokens(self, word: str) -> list[str]:
        if self.form is Form.WORDS:
            return [word]
        marked = WORD_START + word
        pieces = self._segment(word) if self.form is Form.PIECES else [marked]
        return pieces if "".join(pieces) == marked else [marked]


def make_text_output(args: Namespace, tokenizer: Tokenizer) -> TextOutput:
    """The form that a command line asks for; `tokenizer` is that of the language written.

    Where SimulEval counts the reference in the pieces of `--eval-latency-spm-model`, words are cut
    with that model, so that both are counted alike.
    """
    unit = getattr(args, "eval_latency_unit", "word")  # SimulEval's; other callers have none
    form = choose_form(args.text_output, unit)
    counted_with = getattr(args, "eval_latency_spm_model", None)
    if unit == "spm" and counted_with is not None:
        model = spm.SentencePieceProcessor(model_file=counted_with)
        return TextOutput(form, lambda word: list(model.encode(word, out_type=str)))
    return TextOutput(form, lambda word: list(map(tokenizer.piece, tokenizer.encode(word))))
