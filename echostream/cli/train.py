"""`echostream train`: trains a model from a YAML file."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType

from echostream.cli.messages import print_error

_HANG_UP = () if sys.platform == "win32" else (signal.SIGHUP,)

HELP = "train a model, or resume a run that was stopped"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of the command."""
    parser.add_argument("config", help="YAML file, as in configs/train/")
    parser.add_argument("--output", help="folder of the run, instead of the one in the file")
    parser.add_argument(
        "--export-now",
        action="store_true",
        help="train no further: make the model folder of the checkpoints of a stopped run",
    )


def run(args: argparse.Namespace) -> int:
    """Trains or resumes, and prints the model folder; 1, 2 or 130 if it had to stop."""
    import dataclasses

    from echostream.training.kinds import load_run_config, run_training
    from echostream.training.loader import WorkerError
    from echostream.voices.espeak import EspeakError

    config = load_run_config(args.config)
    if args.output is not None:
        config = dataclasses.replace(config, output=args.output)
    before = {
        number: signal.signal(number, _interrupt)
        for number in (signal.SIGTERM, *_HANG_UP)
        if signal.getsignal(number) != signal.SIG_IGN  # as under nohup
    }
    try:
        print(run_training(config, args.export_now))
    except KeyboardInterrupt:
        print_error(
            args,
            f"stopped. The last checkpoint is in {config.output}; "
            "the same command resumes from it.",
        )
        return 130
    except (FloatingPointError, MemoryError, WorkerError) as error:
        print_error(args, f"{error} The last checkpoint is in {config.output}.")
        return 1
    except EspeakError as error:
        print_error(args, str(error))
        return 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt for SIGTERM, which would end the process without a message."""
    raise KeyboardInterrupt
