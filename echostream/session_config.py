"""The command line options of a session, for every command and agent that makes one.

An option has the name and the default of the argument of `StreamingTranslator`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

WRITERS = ("ctc", "decoder")
TASKS = ("st", "asr")
EMISSION_CHOICES = ("auto", "word", "char")

# Argument, its values, its default, and what it is for; a type stands for all of its values.
_OPTIONS: tuple[tuple[str, type | tuple[str, ...], object, str], ...] = (
    (
        "max_future_frames",
        int,
        None,
        "look-ahead of the encoder in bottleneck frames of 160 ms each "
        "(default: the smallest that the model was trained for)",
    ),
    (
        "lagging_k1",
        int,
        0,
        "target tokens to stay behind what the translation CTC head has found (default: 0)",
    ),
    (
        "lagging_k2",
        int,
        0,
        "source tokens to hear before anything is written (default: 0)",
    ),
    (
        "stride_n",
        int,
        1,
        "tokens by which both CTC heads must grow before a WRITE, "
        "and of which a WRITE is a multiple (default: 1)",
    ),
    (
        "writer",
        WRITERS,
        "ctc",
        "what says which words are written: the translation CTC head, or the text decoder of "
        "a model that has one (default: ctc)",
    ),
    (
        "emission_unit",
        EMISSION_CHOICES,
        "auto",
        "give text out by the word, or by the character for a language without spaces, for which "
        "SimulEval needs --eval-latency-unit char; auto is what the model says (default: auto)",
    ),
)


def add_session_options(parser: ArgumentParser) -> None:
    """Declares the options, except for those that an agent has by what it is: task, transcript."""
    for name, values, default, text in _OPTIONS:
        flag = "--" + name.replace("_", "-")
        if isinstance(values, tuple):
            parser.add_argument(flag, choices=values, default=default, help=text)
        else:
            parser.add_argument(flag, type=values, default=default, help=text)


def session_arguments(args: Namespace) -> dict[str, Any]:
    """The arguments of `StreamingTranslator` that `args` holds for these options."""
    return {name: getattr(args, name) for name, *_ in _OPTIONS}
