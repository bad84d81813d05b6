"""Sweeps look-ahead, segment size and decoding method with SimulEval; draws BLEU against latency.

    echostream curve        # the demo model on the example recordings
    echostream curve --task s2st --asr-judge whisper:FOLDER    # its speech
    echostream curve --segment-sizes 320 640 --jobs 2 --offline --output out/mine
    echostream curve --output out/k2 -- --lagging-k1 2    # after --: for the agent
    echostream curve --shards 8 --slurm-script out/curve.sbatch    # for a cluster

Each combination is a point: one run of the real `simuleval` command in a folder of its own.
Finished points are not run again unless one of their inputs or options has changed. With --shards
N each point is split into N runs. One that is killed continues after its last finished utterance,
and the scores of the union are those of one run, except those that depend on the clock: AL_CA,
LAAL_CA, AP_CA, DAL_CA and compute_rtf.

The speech of --task s2st has the latency of its writes, the silence between them, the backlog and,
with --asr-judge, the ASR-BLEU of what a recogniser transcribes, without the silence that SimulEval
puts between writes. Without a judge there is the latency alone. Transcripts are kept.

In the output folder: results.tsv, results.json, curve.png and curve.svg; for speech also
playing.png and playing.svg, with the first and the last sound and the backlog. With several values
of --stride-n these belong to the first one, and each further value n has its own results_n{n}.tsv,
curve_n{n}.png and curve_n{n}.svg; results.json has all points. The pictures need matplotlib, of the
extra `eval`; without it everything else is written.

With --longform N the recordings are joined to streams of N, which are translated without a break.
OmniSTEval aligns the text to the recordings, and longform.tsv, longform.json and longform.png have
BLEU against LongYAAL; the folder of each N has the scores of the streams as they are.

Exit status: 0 if every point is done, 1 if one failed, 2 for bad arguments or inputs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echostream.evaluation import arguments, long_form_curve, provenance
from echostream.evaluation.judging import judge_points
from echostream.evaluation.long_form_curve import Row
from echostream.evaluation.merge import finish_points
from echostream.evaluation.point import Point
from echostream.evaluation.results import Draw, Found, write_results
from echostream.evaluation.runner import Failure, run_tasks
from echostream.evaluation.setup import make_judging, make_points, make_setup
from echostream.evaluation.slurm.scripts import write_scripts
from echostream.evaluation.tasks import Sweep, make_tasks
from echostream.evaluation.test_set import InputError, with_plain_lists
from echostream.extras import ExtraError, extra
from echostream.scoring.judge.speech import Judging, SpeechScores
from echostream.scoring.log import ScoringError
from echostream.scoring.simuleval_scores import WORDS


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sweep, or the configured part of it, and returns the exit status."""
    args = arguments.parse(argv, __doc__)
    if not args.longform:
        return _sweep(args, [])
    rows: list[Row] = []
    try:
        with extra("yaal", "echostream curve --longform"):
            import omnisteval  # noqa: F401
        long_form_curve.check(args)
        statuses = []
        for joined in args.longform:
            _print(f"streams of {joined}:")
            statuses.append(_sweep(long_form_curve.with_streams(args, joined), rows, joined))
        if rows:
            title = f"{args.model_path.name}, unsegmented recordings"
            long_form_curve.write_rows(rows, args.output, title, _load_long_form_draw())
    except (InputError, OSError) as error:
        arguments.print_error("curve", error)
        return 2
    return max(statuses)


def _sweep(args: argparse.Namespace, long_form_rows: list[Row], joined: int = 0) -> int:
    """One sweep; with `joined` its scores by segment are added to the rows, too."""
    try:
        setup = make_setup(args)
        points = make_points(args)
        num_tasks = len(points) * args.shards
        if args.only_task is not None and args.only_task >= num_tasks:
            raise InputError(
                f"`--only-task` must be at most {num_tasks - 1}, for {len(points)} points in "
                f"{args.shards} shards, but is {args.only_task} instead."
            )
        if args.slurm_script is not None:
            return _write_scripts(args, num_tasks)
        judging = make_judging(args, setup)  # before runs that take minutes
        setup.output.mkdir(parents=True, exist_ok=True)
        setup = replace(setup, test_set=with_plain_lists(setup.test_set, setup.output))
        sweep = Sweep(setup, setup.inputs_digest(), _provenance(args))
    except (InputError, OSError) as error:
        arguments.print_error("curve", error)
        return 2
    try:
        failures = _run(sweep, points, args, judging)
        if joined:
            failed = {failure.name.partition("/")[0] for failure in failures}
            done = [point for point in points if point.name not in failed]
            long_form_rows += long_form_curve.score_points(setup, done, joined)
    except KeyboardInterrupt:
        arguments.print_error(
            "curve",
            "interrupted; finished runs are kept, and the same command continues from there",
        )
        return 130
    except (ScoringError, OSError) as error:
        arguments.print_error("curve", error)
        return 1
    for failure in failures:
        arguments.print_error(
            "curve", f"{failure.name} failed: {failure.reason}\n  log: {failure.log}"
        )
    return 1 if failures else 0


def _run(
    sweep: Sweep, points: Sequence[Point], args: argparse.Namespace, judging: Judging | None
) -> list[Failure]:
    """Runs tasks, scores, judges and draws, or the configured part of it."""
    failures: list[Failure] = []
    tasks = make_tasks(sweep, points, args.shards)
    if args.only_task is not None:
        return run_tasks([tasks[args.only_task]], 1, report=_print, rerun=args.rerun)
    draw = _load_draw()  # its line comes before the runs, which take minutes
    if not args.merge_only:
        shards = f" in {args.shards} shards" if args.shards > 1 else ""
        num = len(sweep.setup.test_set)
        what = f"{len(points)} points of {num} utterances{shards}"
        _print(f"{what}, {args.jobs} at a time, in {sweep.setup.output}")
        counting = sweep.setup.counting
        if not sweep.setup.speaks and counting != WORDS:
            _print(f"BLEU by {counting.tokenizer}, latency by {counting.latency_unit}")
        failures = run_tasks(tasks, args.jobs, report=_print, rerun=args.rerun)
    failed = {failure.name.partition("/")[0] for failure in failures}
    rest = [point for point in points if point.name not in failed]
    records, unmerged = finish_points(sweep, rest, args.shards, report=_print)
    failures += unmerged
    judged: dict[Point, SpeechScores] = {}
    if judging is not None:
        judged, unjudged = judge_points(sweep.setup, list(records), judging, report=_print)
        failures += unjudged
    if records:
        write_results(sweep, args, Found(records, failures, judged), draw)
    return failures


def _load_draw() -> Draw | None:
    """The function that draws; None without matplotlib, with a line on standard error."""
    try:
        from echostream.evaluation.plot import draw
    except ExtraError as error:
        arguments.print_error("curve", f"no picture is drawn: {error}")
        return None
    return draw


def _load_long_form_draw() -> Callable[..., list[Path]] | None:
    try:
        from echostream.evaluation.long_form_plot import draw_long_form
    except ExtraError:  # reported by the sweeps already
        return None
    return draw_long_form


def _provenance(args: argparse.Namespace) -> dict[str, Any]:
    """The provenance of the numbers: code, libraries, machine."""
    return {
        **provenance.commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "jobs": 1 if args.only_task is not None else args.jobs,
        "threads_per_job": 1,
    }


def _write_scripts(args: argparse.Namespace, num_tasks: int) -> int:
    command = [sys.executable, "-m", "echostream", "curve", *arguments.words_of(args)]
    args.slurm_script.parent.mkdir(parents=True, exist_ok=True)
    lines = write_scripts(
        args.slurm_script, command, args.agent_args, args.slurm_options, num_tasks
    )
    print(f"{num_tasks} tasks in {args.slurm_script}; submit them and the merging with")
    print("\n".join(f"    {line}" for line in lines))
    return 0


def _print(line: str) -> None:
    print(line, flush=True)
