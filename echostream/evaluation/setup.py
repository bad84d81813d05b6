"""From the arguments of a sweep to its setup, its points and its judge, all checked."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace

from echostream.config import ConfigError, ModelConfig, load_config
from echostream.evaluation.arguments import SPEECH, TEXT, check_demo
from echostream.evaluation.point import CTC, Point, Setup, method_options
from echostream.evaluation.scoring_flags import UNIT, ScoringFlags, read_scoring_flags
from echostream.evaluation.test_set import InputError, check_single_references, read_test_set
from echostream.scoring.judge.flags import NEED_A_JUDGE, read_judge_flags
from echostream.scoring.judge.silence import WITHOUT_SILENCE
from echostream.scoring.judge.speech import Judging
from echostream.session_config import DECODING_METHODS, SessionConfig
from echostream.speech_folder import REFINER

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
    *("--decoding-method", "--writer", "--policy"),
)


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
    for method, stride in itertools.product(args.decoding_methods, args.stride_n):
        try:
            SessionConfig(**method_options(method), stride_n=stride)
        except ConfigError as error:
            raise InputError(str(error)) from error
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
    if any(args.refine_steps or ()) and not (args.model_path / REFINER).is_dir():
        raise InputError(
            f"`--refine-steps` must be 0 for {args.model_path}, which has no {REFINER}, "
            f"but is {max(args.refine_steps)} instead."
        )
    if given is None:
        return list(DECODING_METHODS) if config.decoder_layers else [CTC]
    if not config.decoder_layers and any(method.partition(":")[0] != CTC for method in given):
        raise InputError(
            f"`--decoding-methods` must be {CTC} for {args.model_path}, which has no text decoder, "
            f"but is {' '.join(given)} instead."
        )
    return list(given)
