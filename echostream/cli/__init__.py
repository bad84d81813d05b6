"""The command line: `echostream translate | curve | score | doctor | train | ...`.

Each command is a module of this package with `HELP` (its line in `--help`), `add_flags` and `run`.
Heavy imports are inside `run`, so that `echostream --help` does not load torch.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Sequence

from echostream._version import __version__
from echostream.cli import (
    corpus,
    data,
    doctor,
    export,
    listen,
    score,
    serve,
    train,
    translate,
    units,
)
from echostream.cli.messages import OutputError, checked_output, print_error, silence_broken_outputs
from echostream.cli.programs import PROGRAMS, run_program
from echostream.extras import ExtraError
from echostream.files import describe

COMMANDS = {  # in the order of `--help`
    "translate": translate,
    "serve": serve,
    "listen": listen,
    "score": score,
    "doctor": doctor,
    "train": train,
    "data": data,
    "corpus": corpus,
    "export": export,
    "units": units,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; 0 for success, 1 if something failed, 2 for wrong arguments or input.

    A reader that closes the output early, like `head`, is not an error.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Characters that the encoding lacks are escaped instead of raising an error.
        sys.stdout.reconfigure(errors="backslashreplace")
    args = argparse.Namespace(command="")
    try:
        with checked_output():
            words = list(sys.argv[1:] if argv is None else argv)
            if words and words[0] in PROGRAMS:
                args.command = words[0]
                return run_program(words[0], words[1:])
            if not words:
                _parser().print_help(sys.stderr)
                sys.exit(2)
            args = _parser().parse_args(words)
            return int(args.run(args))
    except (OutputError, ValueError, OSError, ExtraError) as error:
        broken = silence_broken_outputs()
        cause = error.__cause__ if isinstance(error, OutputError) else error
        if isinstance(cause, BrokenPipeError) and (broken or cause is not error):
            return 0
        print_error(args, describe(error) if isinstance(error, OSError) else str(error))
        return 2
    except KeyboardInterrupt:
        silence_broken_outputs()
        print_error(args, "stopped")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="echostream", description="Simultaneous speech translation from the command line."
    )
    parser.add_argument("--version", action="version", version=f"echostream {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        flags = commands.add_parser(name, help=command.HELP)
        command.add_flags(flags)
        flags.set_defaults(run=command.run)
    for name, (_, text) in PROGRAMS.items():  # for the list in `--help` only
        commands.add_parser(name, help=text, add_help=False)
    return parser
