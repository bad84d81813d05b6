"""The command line: `echostream translate | score | doctor | train | corpus | export`.

Each command is a module of this package with a line of `HELP`, its flags (`add_flags`) and what it
does (`run`). Only `run` imports what the command needs: `echostream --help` loads no torch.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from echostream.cli import corpus, doctor, export, score, train, translate
from echostream.cli.complaint import complain

COMMANDS = {  # as `--help` lists them
    "translate": translate,
    "score": score,
    "doctor": doctor,
    "train": train,
    "corpus": corpus,
    "export": export,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; 0 if all went well, 1 if something did not, 2 if it was asked wrongly."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (ValueError, OSError) as error:
        complain(args, str(error))
        return 2
    except KeyboardInterrupt:
        complain(args, "stopped")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="echostream", description="Simultaneous speech translation from the command line."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        flags = commands.add_parser(name, help=command.HELP)
        command.add_flags(flags)
        flags.set_defaults(run=command.run)
    return parser
