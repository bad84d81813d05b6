"""`echostream doctor`: checks which results of the installed SimulEval can be trusted."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from echostream.cli.messages import print_error

HELP = "check which SimulEval is installed and which of its columns can be trusted"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Sets the description, and declares the model."""
    parser.description = (
        "Runs the SimulEval of this Python on small cases and checks the results. "
        "Ends with 0 if all of it can be trusted or EchoStream works around it, with 1 if "
        "something is missing, broken or not what a command on the PATH would run."
    )
    parser.add_argument(
        "model", nargs="?", help="model folder: also check whether it loads and speaks"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the checks in a subprocess and prints their output."""
    # A new interpreter, because SimulEval must be imported as by the command `simuleval`. This
    # process may search the working directory first, or have imported modules from there already.
    # EchoStream's folder comes last: in a clone it is on the path only as the working directory.
    root = str(Path(__file__).resolve().parents[2])
    script = (
        "import sys\n"
        f"sys.path[:] = [*filter(None, sys.path), {root!r}]\n"
        "from echostream.doctor.report import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    model = [] if args.model is None else [args.model]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *model], stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, end="")
    if not done.stdout:
        print_error(
            args,
            f"SimulEval, or EchoStream's agents, cannot be run by {sys.executable}; "
            "the last line above is the error. `pip install simuleval==1.1.4` installs SimulEval.",
        )
        return 1
    return done.returncode
