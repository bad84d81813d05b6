"""The command line: `echostream translate | curve | score | doctor | train | ...`.

Each command is a module of this package with a line of `HELP`, its flags (`add_flags`) and what it
does (`run`). Only `run` imports what the command needs: `echostream --help` loads no torch.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Sequence

from echostream.cli import corpus, doctor, export, score, train, translate
from echostream.cli.messages import print_error, silence_broken_outputs
from echostream.cli.programs import PROGRAMS, run_program

COMMANDS = {  # as `--help` lists them
    "translate": translate,
    "score": score,
    "doctor": doctor,
    "train": train,
    "corpus": corpus,
    "export": export,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; 0 if all went well, 1 if something did not, 2 if it was asked wrongly.

    A reader of the output that goes away early, like `head`, is no error.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A letter that the output has no bytes for is escaped, and what follows is not lost.
        sys.stdout.reconfigure(errors="backslashreplace")
    args = argparse.Namespace(command="")
    try:
        try:
            words = list(sys.argv[1:] if argv is None else argv)
            if words and words[0] in PROGRAMS:
                args.command = words[0]
                return run_program(words[0], words[1:])
            args = _parser().parse_args(words)
            return int(args.run(args))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where its errors are still caught
    except (ValueError, OSError) as error:
        broken = silence_broken_outputs()
        if broken and isinstance(error, BrokenPipeError):
            return 0
        where = f"{' and '.join(broken)} cannot be written: " if broken else ""
        print_error(args, f"{where}{error}")
        return 2
    except KeyboardInterrupt:
        silence_broken_outputs()
        print_error(args, "stopped")
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
    for name, (_, text) in PROGRAMS.items():  # for the list of commands alone
        commands.add_parser(name, help=text, add_help=False)
    return parser
