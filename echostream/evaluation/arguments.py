"""The arguments of a sweep: read, checked, and turned into a setup and its points."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echostream.config import ConfigError, ModelConfig, load_config
from echostream.evaluation import bootstrap
from echostream.evaluation.point import (
    AGENT_CLASS,
    CTC,
    SPEECH_AGENT_CLASS,
    Point,
    Setup,
    method_options,
)
from echostream.evaluation.scoring_flags import UNIT, ScoringFlags, read_scoring_flags
from echostream.evaluation.slurm.scripts import check_option
from echostream.evaluation.test_set import InputError, check_single_references, read_test_set
from echostream.files import describe
from echostream.model_folder import BACKENDS
from echostream.scoring.judge.flags import NEED_A_JUDGE, add_judge_flags, read_judge_flags
from echostream.scoring.judge.silence import WITHOUT_SILENCE
from echostream.scoring.judge.speech import Judging
from echostream.session_config import DECODING_METHODS

# Flags of the agent and of SimulEval that the sweep sets; they are refused after `--`.
_OURS = (
    *(
        "--agent",
        "--agent-class",
        "--model-path",
        "--source",
        "--target",
        "--output",
        "--computation-aware",
    ),
    *("--max-future-frames", "--source-segment-size", "--stride-n", "--backend"),
    *("--decoding-method", "--writer"),
)
# The demo model and its test set, by the names of the arguments. They are in a clone only.
DEMO = {
    "model_path": Path("models/fr-en-demo"),
    "source": Path("examples/fr-en/wav_list.txt"),
    "target": Path("examples/fr-en/target.txt"),
}
# The tasks, and the default output folder of each.
TEXT, SPEECH = "s2tt", "s2st"
OUTPUTS = {TEXT: Path("out/demo"), SPEECH: Path("out/demo-s2st")}
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
        *("--decoding-methods", "--writers"),
        type=method_and_lagging,
        nargs="+",
        metavar="NAME[:K]",
        help="ctc, decoder, or either K tokens behind, like decoder:2 (default: all of the model)",
    )
    add(
        "--refine-steps",
        type=whole_from(0),
        nargs="+",
        metavar="K",
        help="rounds of the unit refiner, of an agent that has one (default: that of the agent)",
    )
    add("--backend", choices=BACKENDS, default="torch", help="back end of the network")
    add("--offline", action="store_true", help="also the whole utterance as one segment, per L")
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
    if args.slurm_options and args.slurm_script is None:
        parser.error("argument --slurm-options: goes with --slurm-script alone")
    return args


def make_setup(args: argparse.Namespace) -> Setup:
    """Checks all that can be checked before a process is started. Raises InputError.

    It also sets `args.decoding_methods` from the model if it was not given.
    """
    if args.agent is not None and not args.agent.is_file():
        raise InputError(f"`--agent` must be a file, but {args.agent} is not one.")
    check_demo(args)
    if not args.model_path.exists():
        raise InputError(
            f"`--model-path` must be a model folder, but {args.model_path} does not exist."
        )
    for word in args.agent_args:
        if word.partition("=")[0] in _OURS:
            raise InputError(f"`{word}` must not be given after `--`: the sweep sets it.")
    args.decoding_methods = _check_model(args)
    if any(":" in method for method in args.decoding_methods) and "--lagging-k1" in args.agent_args:
        raise InputError(
            "`--lagging-k1` must not be given after `--`: `--decoding-methods` sets it."
        )
    if args.refine_steps and "--refine-steps" in args.agent_args:
        raise InputError("`--refine-steps` must not be given after `--`, too: the sweep sets it.")
    scoring = _check_task(args, read_scoring_flags(args.agent_args))
    if "--extra-output-dir" in [word.partition("=")[0] for word in args.agent_args]:
        num_runs = len(make_points(args)) * args.shards
        if num_runs > 1:
            raise InputError(
                "`--extra-output-dir` must not be given after `--` of more than one run, but there "
                f"are {num_runs}: all would write into the same files."
            )
    test_set = read_test_set(args.source, args.target)
    check_single_references(test_set)
    if args.shards > len(test_set):
        raise InputError(
            f"`--shards` must be at most {len(test_set)}, the number of utterances, "
            f"but is {args.shards} instead."
        )
    backend = [] if args.backend == "torch" else ["--backend", args.backend]
    return Setup(
        args.agent,
        args.model_path,
        test_set,
        args.output,
        (*backend, *args.agent_args, *scoring.added),
        scoring.counting,
        scoring.words,
        scoring.pieces,
    )


def make_judging(args: argparse.Namespace, setup: Setup) -> Judging | None:
    """How the speech of points is judged; None if it is not, or not by this call.

    Raises InputError for a judge that cannot be used.
    """
    if args.only_task is not None:
        return None
    try:
        return read_judge_flags(args, setup.counting.tokenizer, (WITHOUT_SILENCE,))
    except ValueError as error:
        raise InputError(str(error)) from error


def check_demo(args: argparse.Namespace) -> None:
    """Raises InputError if a path of `DEMO`, the default, does not exist."""
    for name, path in DEMO.items():
        if getattr(args, name) == path and not path.exists():
            raise InputError(
                f"{path}, the default of `--{name.replace('_', '-')}`, exists only in a clone of "
                "EchoStream: run the command there, or give `--model-path`, `--source` and "
                "`--target`."
            )


def make_points(args: argparse.Namespace) -> list[Point]:
    """All combinations, each once, in the order of the rows; offline points have one stride."""
    points = []
    axes = (args.decoding_methods, args.refine_steps or [None], args.max_future_frames)
    for method, steps, lookahead in itertools.product(*axes):
        for stride in args.stride_n:
            sizes = args.segment_sizes
            points += [Point(lookahead, size, stride, method, steps) for size in sizes]
        if args.offline:
            points.append(Point(lookahead, None, args.stride_n[0], method, steps))
    return list(dict.fromkeys(points))


def words_of(args: argparse.Namespace) -> list[str]:
    """The arguments of the same sweep, without those after `--`."""
    words = []
    for name, value in vars(args).items():
        if name in _OF_THE_CALL or value is False or value is None:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words += map(str, value if isinstance(value, list) else [value])
    return words


def _check_task(args: argparse.Namespace, scoring: ScoringFlags) -> ScoringFlags:
    """The scoring flags for the task. Raises InputError for flags of the other one."""
    if args.task == TEXT:
        for name in ("asr_judge", *NEED_A_JUDGE, "refine_steps"):
            if getattr(args, name, None):
                raise InputError(f"`--{name.replace('_', '-')}` needs `--task {SPEECH}`.")
        return scoring
    if scoring.counting.latency_unit != "word":
        raise InputError(
            f"`{UNIT}` must be word with `--task {SPEECH}`, whose references count in words, "
            f"but is {scoring.counting.latency_unit} instead."
        )
    return replace(scoring, counting=replace(scoring.counting, latency_unit="write"))


def _check_model(args: argparse.Namespace) -> list[str]:
    """The decoding methods that were given, or all of the model. Raises InputError.

    A folder that is not EchoStream's is left to the agent.
    """
    given: list[str] | None = args.decoding_methods
    try:
        config = load_config(ModelConfig, args.model_path / "config.yaml")
    except (ConfigError, OSError):
        return list(given or [CTC])
    if untrained := set(args.max_future_frames) - set(config.max_future_frames):
        raise InputError(
            f"`--max-future-frames` must be among {', '.join(map(str, config.max_future_frames))} "
            f"for {args.model_path}, but is {min(untrained)} instead."
        )
    if given is None:
        return list(DECODING_METHODS) if config.decoder_layers else [CTC]
    if not config.decoder_layers and any(method.partition(":")[0] != CTC for method in given):
        raise InputError(
            f"`--decoding-methods` must be {CTC} for {args.model_path}, which has no text decoder, "
            f"but is {' '.join(given)} instead."
        )
    return list(given)


def print_error(command: str, message: object) -> None:
    """Prints an error on standard error, with the name of the command."""
    text = describe(message) if isinstance(message, OSError) else message
    print(f"echostream {command}: {text}", file=sys.stderr)


def method_and_lagging(text: str) -> str:
    """An argument type: ctc, decoder, or either with a lagging, as in decoder:2."""
    try:
        options = method_options(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    lagging = options.get("lagging_k1", 0)
    return f"{options['decoding_method']}:{lagging}" if lagging else str(options["decoding_method"])


def whole_from(least: int) -> Any:
    """An argument type: an integer of at least `least`."""

    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"must be a whole number, but is {text} instead"
            ) from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, but is {value} instead")
        return value

    return whole_number
