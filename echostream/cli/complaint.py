"""How a command says what went wrong."""

from __future__ import annotations

import argparse
import sys


def complain(args: argparse.Namespace, message: str) -> None:
    """One line on standard error, with the name of the command."""
    print(f"echostream {args.command}: {message}", file=sys.stderr)
