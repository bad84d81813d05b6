"""`echostream doctor`: what the installed SimulEval can be trusted with."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from echostream.cli.messages import print_error

HELP = "say which SimulEval is installed and which of its columns can be trusted"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Says what the command does; it has no flags."""
    parser.description = (
        "Runs the SimulEval of this Python on small cases and looks at what it does. "
        "Ends with 0 when all of it can be trusted or EchoStream works around it, with 1 when "
        "something is missing, broken or not what a command on the PATH would run."
    )


def run(args: argparse.Namespace) -> int:
    """Runs the checks in a process of their own and passes on what they say."""
    # SimulEval is imported by the agents alone, which stand above the command line. What comes
    # first on the path must be what comes first for `simuleval`: not the working directory, and
    # EchoStream's own place last.
    root = str(Path(__file__).resolve().parents[2])
    script = (
        "import sys\n"
        f"sys.path[:] = [*filter(None, sys.path), {root!r}]\n"
        "from echostream.doctor.report import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, end="")
    if not done.stdout:
        print_error(
            args,
            f"SimulEval, or EchoStream's agents, cannot be run by {sys.executable}; "
            "the last line above says why. `pip install simuleval==1.1.4` installs SimulEval.",
        )
        return 1
    return done.returncode
