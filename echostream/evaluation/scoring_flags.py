"""The scoring flags of SimulEval that may stand after `--` of a sweep.

The sweep itself scores with the same ones. A flag that would evaluate a part of the test set, or
keep SimulEval from scoring, is refused before anything is started.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from echostream.evaluation.test_set import InputError
from echostream.scoring.metrics.quality import DEFAULT_TOKENIZER, UNSPACED_TOKENIZER, make_bleu
from echostream.scoring.simuleval_scores import Counting
from echostream.scoring.words import load_pieces

UNIT, TOKENIZER = "--eval-latency-unit", "--sacrebleu-tokenizer"
PIECES, NO_REFERENCE = "--eval-latency-spm-model", "--no-use-ref-len"
_FLAGS = (UNIT, TOKENIZER, PIECES, NO_REFERENCE)
# Flags that the sweep sets itself, or that leave it nothing to score.
_REFUSED = (
    *("--quality-metrics", "--latency-metrics", "--no-scoring", "--score-only"),
    *("--continue-unfinished", "--start-index", "--end-index"),
    *("--remote-eval", "--standalone", "--slurm"),
)


@dataclass(frozen=True)
class ScoringFlags:
    """The scoring flags among the arguments after `--`."""

    counting: Counting
    words: tuple[str, ...]  # these flags alone, for SimulEval's scorer
    pieces: Path | None  # the SentencePiece model of the latency unit spm
    added: tuple[str, ...]  # flags for SimulEval beside the given ones


def read_scoring_flags(agent_args: Sequence[str]) -> ScoringFlags:
    """Reads the arguments after `--`. Raises InputError for flags that cannot be scored with."""
    for word in agent_args:
        name = word.partition("=")[0]
        if name in _REFUSED:
            raise InputError(
                f"`{name}` must not be given after `--`: every point is evaluated and scored whole."
            )
        full = [flag for flag in _FLAGS if name != flag and flag.startswith(name)]
        if full and len(name) > len("--no-use"):  # shorter ones may be the agent's
            raise InputError(f"`{name}` must be written in full after `--`: {' or '.join(full)}.")
    found, _ = _parser().parse_known_args(list(agent_args))
    # SimulEval's default takes a sentence without spaces as one word.
    fallback = UNSPACED_TOKENIZER if found.unit == "char" else DEFAULT_TOKENIZER
    tokenizer = found.tokenizer or fallback
    added = (TOKENIZER, tokenizer) if found.tokenizer is None and found.unit == "char" else ()
    try:
        make_bleu(tokenizer)
    except ValueError as error:
        raise InputError(f"`{TOKENIZER}`: {error}") from error
    if (found.unit == "spm") is not (found.pieces is not None):
        raise InputError(f"`{UNIT} spm` and `{PIECES}` must stand together after `--`.")
    try:
        pieces = None if found.pieces is None else load_pieces(found.pieces)
    except (OSError, ValueError) as error:
        raise InputError(f"`{PIECES}`: {error}") from error
    words = [UNIT, found.unit, TOKENIZER, tokenizer]
    words += [] if found.pieces is None else [PIECES, str(found.pieces)]
    words += [NO_REFERENCE] if found.no_reference else []
    counting = Counting(found.unit, tokenizer, pieces, not found.no_reference)
    return ScoringFlags(counting, tuple(words), found.pieces, added)


class _Parser(argparse.ArgumentParser):
    """A parser that raises an error where argparse ends the program."""

    def error(self, message: str) -> NoReturn:
        """Raises InputError."""
        raise InputError(f"after `--`: {message}.")


def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument(UNIT, dest="unit", choices=("word", "char", "spm"), default="word")
    parser.add_argument(TOKENIZER, dest="tokenizer")
    parser.add_argument(PIECES, dest="pieces", type=Path)
    parser.add_argument(NO_REFERENCE, dest="no_reference", action="store_true")
    return parser
