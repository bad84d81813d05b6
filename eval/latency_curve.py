"""Sweeps look-ahead and segment size through SimulEval, and draws BLEU against latency.

    python eval/latency_curve.py        # the demo model on the example recordings
    python eval/latency_curve.py --segment-sizes 320 640 --jobs 2 --offline --output out/mine
    python eval/latency_curve.py --output out/k2 -- --lagging-k1 2    # after --: for the agent

Each combination is one run of the real `simuleval` command in a folder of its own. Finished
combinations are not run again unless an input or an option of theirs changed. In the output
folder: results.tsv, results.json, curve.png and curve.svg. With several values of --stride-n
these belong to the first one, and each further value n has its own results_n{n}.tsv,
curve_n{n}.png and curve_n{n}.svg; results.json has all points.

Exit status: 0 when every point is done, 1 when one failed, 2 for bad arguments or inputs.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    # Run as a script: its own folder is first on the path, and must give way to the root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from echostream.scoring.instances import ScoringError, read_instances, signatures
from eval import bootstrap, provenance
from eval.inputs import InputError, read_test_set
from eval.plot import draw
from eval.point import INSTANCES, Point, Setup
from eval.report import Row, build_rows, table, write_json, write_tsv
from eval.simuleval_run import Outcome, run_points


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sweep and return the exit status."""
    args = _parse(argv)
    try:
        setup = _setup(args)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    where = {
        **provenance.commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "jobs": args.jobs,
        "threads_per_job": 1,
    }
    points = _points(args)
    setup.output.mkdir(parents=True, exist_ok=True)
    num = len(setup.test_set)
    _say(f"{len(points)} points of {num} utterances, {args.jobs} at a time, in {setup.output}")
    try:
        outcome = run_points(setup, points, args.jobs, where, report=_say, rerun=args.rerun)
        done = [point for point in points if point in outcome.records]
        if done:
            rows = build_rows(setup, done, args.resamples, bootstrap.SEED)
            _write(setup, args, rows, outcome, where)
    except KeyboardInterrupt:
        print(
            "interrupted: what is finished stays so; the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    except (ScoringError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for failure in outcome.failures:
        print(
            f"error: {failure.point.name} failed: {failure.reason}\n  log: {failure.log}",
            file=sys.stderr,
        )
    return 1 if outcome.failures else 0


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The docstring as it is, and the default of every option."""


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    words = list(sys.argv[1:] if argv is None else argv)
    split = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(
        prog="latency_curve.py", description=__doc__, formatter_class=_Help, allow_abbrev=False
    )
    add = parser.add_argument
    positive = _whole(1)
    add("--agent", type=Path, default=Path("agents/s2tt.py"), help="agent file")
    add("--model-path", type=Path, default=Path("models/fr-en-demo"), help="model folder")
    add("--source", type=Path, default=Path("examples/fr-en/wav_list.txt"), help="wav list")
    add("--target", type=Path, default=Path("examples/fr-en/target.txt"), help="references")
    add("--output", type=Path, default=Path("out/demo"), help="output folder")
    add("--max-future-frames", type=_whole(0), nargs="+", default=[0, 1], help="look-aheads L")
    segments = ("--segment-sizes", "--source-segment-size")
    add(*segments, type=positive, nargs="+", default=[320, 640, 960], help="in ms")
    add("--stride-n", type=positive, nargs="+", default=[1], help="tokens of one WRITE")
    add("--offline", action="store_true", help="also the whole utterance as one segment, per L")
    add("--jobs", type=positive, default=1, help="simuleval processes at a time, one thread each")
    add("--resamples", type=positive, default=bootstrap.NUM_RESAMPLES, help="of the bootstrap")
    add("--rerun", action="store_true", help="run finished points again")
    args = parser.parse_args(words[:split])
    args.agent_args = words[split + 1 :]
    return args


def _whole(least: int) -> Any:
    """An argument type: a whole number of at least `least`."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, but is {value} instead")
        return value

    return whole_number


def _setup(args: argparse.Namespace) -> Setup:
    """Everything that can be wrong before a process is started, checked."""
    if not args.agent.is_file():
        raise InputError(f"`--agent` must be a file, but {args.agent} is none.")
    if not args.model_path.exists():
        raise InputError(
            f"`--model-path` must be a model folder, but {args.model_path} does not exist."
        )
    test_set = read_test_set(args.source, args.target)
    return Setup(args.agent, args.model_path, test_set, args.output, tuple(args.agent_args))


def _points(args: argparse.Namespace) -> list[Point]:
    """All combinations, each once, in the order of the rows; the stride does not matter offline."""
    points = []
    for lookahead in args.max_future_frames:
        for stride in args.stride_n:
            points += [Point(lookahead, segment, stride) for segment in args.segment_sizes]
        if args.offline:
            points.append(Point(lookahead, None, args.stride_n[0]))
    return list(dict.fromkeys(points))


def _write(
    setup: Setup,
    args: argparse.Namespace,
    rows: Sequence[Row],
    outcome: Outcome,
    where: dict[str, Any],
) -> None:
    """Write tables and pictures, print the table and where they are."""
    utterances = read_instances(setup.folder(rows[0].point) / INSTANCES)
    about = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "eval/latency_curve.py", *_words(args)]),
        "agent": str(setup.agent),
        "agent_args": list(setup.agent_args),
        "model_path": str(setup.model_path),
        "source": str(setup.test_set.source),
        "target": str(setup.test_set.target),
        "num_utterances": len(utterances),
        "audio_seconds": sum(utterance.source_ms for utterance in utterances) / 1000,
        "signatures": signatures(utterances),
        "bootstrap": {"resamples": args.resamples, "seed": bootstrap.SEED, "confidence": 0.95},
        "provenance": where,
        "failures": [
            {"name": f.point.name, "reason": f.reason, "log": str(f.log)} for f in outcome.failures
        ],
    }
    write_json(setup.output / "results.json", rows, outcome.records, about)
    for stride in dict.fromkeys(args.stride_n):
        suffix = "" if stride == args.stride_n[0] else f"_n{stride}"
        mine = [row for row in rows if row.point.segment_ms is None or row.point.stride_n == stride]
        write_tsv(setup.output / f"results{suffix}.tsv", mine)
        pictures = [setup.output / f"curve{suffix}{ending}" for ending in (".png", ".svg")]
        title = f"{setup.model_path.name}, {len(utterances)} utterances, stride n = {stride}"
        draw(mine, f"{title}; at each point: segment size", pictures)
        print(f"\n{title} (latencies in ms)\n{table(mine)}\n")
        print(f"scores: {setup.output / f'results{suffix}.tsv'}, {setup.output / 'results.json'}")
        print(f"picture: {pictures[0]}")


def _words(args: argparse.Namespace) -> list[str]:
    """The arguments that make the same sweep again."""
    words = []
    for name, value in vars(args).items():
        if name in ("offline", "rerun", "agent_args"):
            continue
        values = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    if args.offline:
        words.append("--offline")
    return words + (["--", *args.agent_args] if args.agent_args else [])


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    # A terminated sweep must end its processes, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
