"""Flags that several commands have: the back end, how texts are normalised, and numbers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echostream.text.normalization import TextNormalization

NORMALIZATION_DEFAULTS = {"case": "keep", "punctuation": "keep", "apostrophes": "keep"}


def add_normalization(parser: argparse.ArgumentParser, drops: bool = False) -> None:
    """Declares the flags; with `drops` texts are in lower case without punctuation by default."""
    for flag, choices, default in (
        ("--case", ("keep", "lower"), "lower" if drops else "keep"),
        ("--punctuation", ("keep", "drop"), "drop" if drops else "keep"),
        ("--apostrophes", ("keep", "straight", "drop"), "straight" if drops else "keep"),
    ):
        parser.add_argument(
            flag, choices=choices, default=default, help="of both texts (default: %(default)s)"
        )


def normalization_of(args: argparse.Namespace) -> TextNormalization:
    """The normalisation that the flags choose."""
    from echostream.text.normalization import TextNormalization

    return TextNormalization(args.case, args.punctuation, args.apostrophes)


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Declares `--backend` and `--device`: what computes the network, and where."""
    parser.add_argument(
        "--backend",
        choices=("torch", "onnx", "onnx-int8"),
        default="torch",
        help="back end of the network; onnx needs `echostream export` first (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or gpu (default: %(default)s)")


def add_numbers(
    parser: argparse.ArgumentParser, kind: type, *flags: tuple[str, float, str]
) -> None:
    """Declares flags of a kind of number, each with its default and what it is."""
    for flag, default, what in flags:
        parser.add_argument(flag, type=kind, default=default, help=f"{what} (default: {default})")
