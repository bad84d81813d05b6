"""The arguments of a sweep: declared, read, and written again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echostream.evaluation import bootstrap
from echostream.evaluation.point import AGENT_CLASS, SPEECH_AGENT_CLASS, method_options
from echostream.evaluation.published import published
from echostream.evaluation.slurm.scripts import check_option
from echostream.evaluation.test_set import InputError
from echostream.files import describe
from echostream.model_folder import BACKENDS
from echostream.scoring.judge.flags import add_judge_flags
from echostream.session_config import MAX_REFINE_STEPS

# The demo model and its test set, by the names of the arguments. They are in a clone only.
DEMO = {
    "model_path": Path("models/fr-en-demo"),
    "source": Path("examples/fr-en/wav_list.txt"),
    "target": Path("examples/fr-en/target.txt"),
}
# The tasks, and the default output folder of each.
TEXT, SPEECH = "s2tt", "s2st"
OUTPUTS = {TEXT: Path("out/demo"), SPEECH: Path("out/demo-s2st")}
METHOD_FLAGS = ("--decoding-methods", "--policies", "--writers")
PAUSE_MS = 400  # between the recordings of a stream
# Arguments of a single call, which are no part of the sweep.
_OF_THE_CALL = ("rerun", "only_task", "merge_only", "slurm_script", "slurm_options", "agent_args")


class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The unformatted description, and the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if default is None or default is False or default == []:
            return action.help
        if isinstance(default, list):  # as it is typed
            return f"{action.help} (default: {' '.join(map(str, default))})"
        return super()._get_help_string(action)


def parse(argv: Sequence[str] | None, description: str | None) -> argparse.Namespace:
    """The arguments, those after `--` as `agent_args`. Exits with 2 if they are wrong."""
    words = list(sys.argv[1:] if argv is None else argv)
    split = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(
        prog="echostream curve", description=description, formatter_class=Help, allow_abbrev=False
    )
    positive = whole_from(1)
    add = parser.add_argument
    add("--task", choices=OUTPUTS, default=TEXT, help="the output: text, or s2st for speech")
    classes = f"{AGENT_CLASS}, or {SPEECH_AGENT_CLASS} with --task {SPEECH}"
    add("--agent", type=Path, help=f"agent file (default: the class {classes})")
    add("--model-path", type=Path, default=DEMO["model_path"], help="model folder")
    add("--source", type=Path, default=DEMO["source"], help="wav list")
    add("--target", type=Path, default=DEMO["target"], help="references")
    defaults = f"{OUTPUTS[TEXT]}, or {OUTPUTS[SPEECH]} with --task {SPEECH}"
    add("--output", type=Path, help=f"output folder (default: {defaults})")
    add("--max-future-frames", type=whole_from(0), nargs="+", default=[0, 1], help="look-aheads L")
    segments = ("--segment-sizes", "--source-segment-size")
    add(*segments, type=positive, nargs="+", default=[320, 640, 960], help="in ms")
    add("--stride-n", type=positive, nargs="+", default=[1], help="tokens of one WRITE")
    add(
        *METHOD_FLAGS,
        type=method_and_lagging,
        nargs="+",
        metavar="NAME[:K]",
        help="ctc, decoder, or either K tokens behind, like decoder:2; or the decoder with the "
        "policy wait-k:K or alignatt:F (default: ctc, and decoder if the model has one)",
    )
    add(
        "--refine-steps",
        type=whole_from(0, MAX_REFINE_STEPS),
        nargs="+",
        metavar="K",
        help=f"rounds of the refiner over the units of speech, 0 to {MAX_REFINE_STEPS}, by a model "
        "that has a refiner (default: that of the agent)",
    )
    add("--backend", choices=BACKENDS, default="torch", help="back end of the network")
    add(
        "--longform",
        type=positive,
        nargs="+",
        metavar="N",
        help="streams of N recordings instead, against LongYAAL (extra yaal)",
    )
    add("--pause-ms", type=whole_from(0), help=f"silence between them (default: {PAUSE_MS})")
    add("--offline", action="store_true", help="also the whole utterance as one segment, per L")
    add(
        "--published",
        type=published,
        nargs="+",
        default=[],
        metavar="NAME=SCORE",
        help="scores of other systems on the same recordings, as lines in the picture",
    )
    add("--jobs", type=positive, default=1, help="simuleval processes at a time, one thread each")
    add("--shards", type=positive, default=1, help="parts of each point, each run by itself")
    add("--resamples", type=positive, default=bootstrap.NUM_RESAMPLES, help="of the bootstrap")
    call = parser.add_mutually_exclusive_group()
    call.add_argument("--rerun", action="store_true", help="run finished points again")
    call.add_argument(
        "--only-task", type=whole_from(0), metavar="K", help="run task K alone, no scores"
    )
    call.add_argument("--merge-only", action="store_true", help="only score the finished tasks")
    call.add_argument("--slurm-script", type=Path, help="run nothing, write a script for sbatch")
    add(
        *("--slurm-options", "--slurm-option"),
        type=check_option,
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="of sbatch, for that script, like partition=gpu time=2:00:00",
    )
    add_judge_flags(parser)
    args = parser.parse_args(words[:split])
    args.output = args.output or OUTPUTS[args.task]
    args.agent_args = words[split + 1 :]
    if args.pause_ms is not None and not args.longform:
        parser.error("argument --pause-ms: goes with --longform alone")
    if args.slurm_options and args.slurm_script is None:
        parser.error("argument --slurm-options: goes with --slurm-script alone")
    return args


def check_demo(args: argparse.Namespace) -> None:
    """Raises InputError if a path of `DEMO`, the default, does not exist."""
    for name, path in DEMO.items():
        if getattr(args, name) == path and not path.exists():
            raise InputError(
                f"{path}, the default of `--{name.replace('_', '-')}`, exists only in a clone of "
                "EchoStream: run the command there, or give `--model-path`, `--source` and "
                "`--target`."
            )


def words_of(args: argparse.Namespace) -> list[str]:
    """The arguments of the same sweep, without those after `--`."""
    words = []
    for name, value in vars(args).items():
        if name in _OF_THE_CALL or value is False or value in (None, []):
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words += map(str, value if isinstance(value, list) else [value])
    return words


def print_error(command: str, message: object) -> None:
    """Prints an error on standard error, with the name of the command."""
    text = describe(message) if isinstance(message, OSError) else message
    print(f"echostream {command}: {text}", file=sys.stderr)


def method_and_lagging(text: str) -> str:
    """An argument type: a method as in `method_options`; a lagging of 0 is left out."""
    try:
        options = method_options(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if "policy" in options:
        return text
    lagging = options.get("lagging_k1", 0)
    return f"{options['decoding_method']}:{lagging}" if lagging else str(options["decoding_method"])


def whole_from(least: int, most: int | None = None) -> Any:
    """An argument type: an integer of at least `least`, and at most `most` if that is given."""

    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"must be a whole number, but is {text} instead"
            ) from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, but is {value} instead")
        if most is not None and value > most:
            raise argparse.ArgumentTypeError(f"must be at most {most}, but is {value} instead")
        return value

    return whole_number
