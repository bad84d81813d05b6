"""`echostream train`: trains a model from a YAML file."""

from __future__ import annotations

import argparse

from echostream.cli.messages import print_error
from echostream.training.command import add_flags as add_flags
from echostream.training.command import run_command

HELP = "train a model, or resume a run that was stopped"


def run(args: argparse.Namespace) -> int:
    """Trains or resumes, and prints the model folder; 1, 2 or 130 if it had to stop."""
    return run_command(args, lambda message: print_error(args, message))
