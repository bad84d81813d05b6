"""A training as a command: signals, and errors as a line and an exit status.

Heavy imports are inside the functions: `echostream --help` needs only the flags.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from echostream.extras import ExtraError
from echostream.files import describe

_HANG_UP = () if sys.platform == "win32" else (signal.SIGHUP,)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of the command."""
    parser.add_argument("config", help="YAML file, as in configs/train/")
    parser.add_argument("--output", help="folder of the run, instead of the one in the file")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        default=[],
        help="other values than those in the file, as loss.st=0 data.batch_seconds=100",
    )
    parser.add_argument(
        "--export-now",
        action="store_true",
        help="train no further: make the model folder of the checkpoints of a stopped run",
    )


def run_command(args: argparse.Namespace, tell: Callable[[str], None]) -> int:
    """Trains or resumes, and prints the model folder; 1, 2 or 130 if it had to stop.

    tell: prints a message on standard error.
    """
    import dataclasses

    from echostream.training.kinds import load_run_config, run_training
    from echostream.training.loader import WorkerError
    from echostream.voices.espeak import EspeakError

    config = load_run_config(args.config, args.set)
    if args.output is not None:
        config = dataclasses.replace(config, output=args.output)
    before = {
        number: signal.signal(number, _interrupt)
        for number in (signal.SIGTERM, *_HANG_UP)
        if signal.getsignal(number) != signal.SIG_IGN  # as under nohup
    }
    try:
        folder = run_training(config, args.export_now)
        if os.environ.get("RANK", "0") == "0":
            print(folder)
    except KeyboardInterrupt:
        tell(
            f"stopped. The last checkpoint is in {config.output}; the same command resumes from it."
        )
        return 130
    except (FloatingPointError, MemoryError, WorkerError) as error:
        tell(f"{error} The last checkpoint is in {config.output}.")
        return 1
    except EspeakError as error:
        tell(str(error))
        return 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt for SIGTERM, which would end the process without a message."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """`torchrun -m echostream.training.train CONFIG`: one of several processes that train.

    The result and the messages are those of `echostream train`, after the number of the rank.
    """
    rank = os.environ.get("RANK", "0")
    level = logging.INFO if rank == "0" else logging.WARNING
    logging.basicConfig(level=level, format=f"%(levelname)s rank {rank}: %(message)s")
    parser = argparse.ArgumentParser(prog="torchrun -m echostream.training.train")
    add_flags(parser)

    def tell(message: str) -> None:
        print(f"echostream train, rank {rank}: {message}", file=sys.stderr)

    try:
        return run_command(parser.parse_args(argv), tell)
    except (ValueError, OSError, ExtraError) as error:
        tell(describe(error) if isinstance(error, OSError) else str(error))
        return 2
