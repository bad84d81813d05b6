"""Evaluates an agent that runs elsewhere, in a server of SimulEval; writes its instances.log.

    simuleval --standalone --remote-port 12321 --agent agents/s2tt.py --model-path models/fr-en-demo
    echostream remote --source examples/fr-en/wav_list.txt --target examples/fr-en/target.txt \\
        --source-segment-size 320 --output out/remote --url http://localhost:12321

The first line is for the machine with the agent, the second for the one with the recordings. The
log is that of a local run; `elapsed` includes the network. Each utterance is on disk before the
next begins, and the same command continues a run that failed. The server has one agent: only one
client at a time.

Exit status: 0 if every utterance is done, 1 if the run failed, 2 for bad arguments, inputs or an
output folder of another run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from echostream.evaluation.arguments import Help, print_error
from echostream.evaluation.remote.agent import RemoteAgent, RemoteError
from echostream.evaluation.remote.log import RemoteLog, RemoteLogError
from echostream.evaluation.remote.utterance import evaluate
from echostream.evaluation.test_set import InputError, TestSet, read_test_set
from echostream.files import digest, digest_of_stats


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the evaluation and returns the exit status."""
    args = _parse(argv)
    try:
        test_set = read_test_set(args.source, args.target)
        agent = RemoteAgent(args.url, args.timeout)
    except (InputError, OSError, ValueError) as error:
        print_error("remote", error)
        return 2
    with closing(agent):
        return _evaluate(agent, test_set, args)


def _evaluate(agent: RemoteAgent, test_set: TestSet, args: argparse.Namespace) -> int:
    try:
        name = agent.describe()
    except RemoteError as error:
        print_error("remote", f"{error}\n{_how_to_serve(args.url)}")
        return 1
    settings = {
        "agent": name,
        "source_segment_size": args.source_segment_size,
        "source": digest(args.source),
        "target": digest(args.target),
        "recordings": digest_of_stats(test_set.recordings),
        "eval_latency_unit": args.eval_latency_unit,
    }
    try:
        log = RemoteLog(args.output, settings, args.rerun, args.eval_latency_unit)
    except (RemoteLogError, OSError) as error:
        print_error("remote", error)
        return 2
    print(f"{name} at {args.url}: {log.num_done} of {len(test_set)} utterances are done")
    try:
        _run(agent, test_set, log, args)
    except (RemoteError, OSError, KeyboardInterrupt) as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else error
        print_error(
            "remote",
            f"{reason}\n{log.num_done} of {len(test_set)} utterances are in {log.path}; "
            "the same command continues from there",
        )
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    print(f"{log.path} is complete; score it with: echostream score {args.output}")
    return 0


def _run(agent: RemoteAgent, test_set: TestSet, log: RemoteLog, args: argparse.Namespace) -> None:
    for index in range(log.num_done, len(test_set)):
        instance = evaluate(
            agent,
            index,
            test_set.sources[index],
            test_set.references[index],
            args.source_segment_size,
            args.eval_latency_unit,
        )
        log.append(instance)
        print(f"{log.num_done}/{len(test_set)} {instance['prediction']}", flush=True)


def _how_to_serve(url: str) -> str:
    port = url.rstrip("/").rpartition(":")[2]
    return (
        "Start a server there, and wait until it is ready:\n"
        f"  simuleval --standalone --remote-port {port if port.isdigit() else 12321} "
        "--agent-class echostream.agents.SpeechToTextTranslationAgent --model-path MODEL"
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="echostream remote", description=__doc__, formatter_class=Help, allow_abbrev=False
    )
    add = parser.add_argument
    add("--source", type=Path, required=True, help="wav list")
    add("--target", type=Path, required=True, help="references")
    add("--output", type=Path, required=True, help="output folder")
    add("--source-segment-size", type=_milliseconds, required=True, help="in ms")
    units = "unit of latency; char for a language without spaces"
    add("--eval-latency-unit", choices=("word", "char"), default="word", help=units)
    add("--url", default="http://localhost:12321", help="where the agent is served")
    add("--timeout", type=_seconds, default=120.0, help="seconds to wait for one answer")
    add("--rerun", action="store_true", help="begin anew in a folder that holds a run")
    return parser.parse_args(argv)


def _milliseconds(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1 ms, but is {value} instead")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0 seconds, but is {value} instead")
    return value
