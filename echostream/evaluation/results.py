"""The files and the printed tables of a sweep."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from echostream.evaluation import arguments, bootstrap
from echostream.evaluation.judging import findings
from echostream.evaluation.point import Point
from echostream.evaluation.published import Published
from echostream.evaluation.report import Row, build_rows, table, write_json, write_tsv
from echostream.evaluation.runner import Failure
from echostream.evaluation.tasks import Sweep
from echostream.scoring.judge.silence import WITHOUT_SILENCE
from echostream.scoring.judge.speech import SpeechScores
from echostream.scoring.simuleval_scores import WORDS, Counting, Scores

Draw = Callable[[Sequence[Row], str, Path, str, Sequence[Published]], list[Path]]


@dataclass(frozen=True)
class Found:
    """What a sweep has found: the records of its finished points, and how the others failed."""

    records: Mapping[Point, dict[str, Any]]
    failures: Sequence[Failure]
    judged: Mapping[Point, SpeechScores] = field(default_factory=dict)


def write_results(sweep: Sweep, args: argparse.Namespace, found: Found, draw: Draw | None) -> None:
    """Prints tables, writes them and the pictures, and prints the paths of the files.

    Raises ScoringError and OSError.
    """
    setup = sweep.setup
    rows = build_rows(setup, list(found.records), args.resamples, bootstrap.SEED, found.judged)
    first = rows[0].scores
    about = _about(sweep, args, found, rows)
    by_stride: dict[int, tuple[str, list[Row]]] = {}
    unit = setup.counting.latency_unit
    units = "" if unit in ("word", "write") else f", counted by {unit}"
    for stride in dict.fromkeys(args.stride_n):
        mine = [row for row in rows if row.point.segment_ms is None or row.point.stride_n == stride]
        title = f"{setup.model_path.name}, {first.num_utterances} utterances, stride n = {stride}"
        by_stride[stride] = title, mine
        # Printed before anything is written: a full disk must not hide the scores.
        print(f"\n{title} (latencies in ms{units})\n{table(mine)}\n", flush=True)
    write_json(setup.output / "results.json", rows, found.records, about)
    for stride, (title, mine) in by_stride.items():
        suffix = "" if stride == args.stride_n[0] else f"_n{stride}"
        write_tsv(setup.output / f"results{suffix}.tsv", mine)
        pictures = []
        if draw is not None:
            # matplotlib would read a dollar as the start of a formula
            heading = title.replace("$", r"\$").encode("utf-8", "replace").decode()
            pictures = draw(mine, heading, setup.output, suffix, args.published)
        print(f"scores: {setup.output / f'results{suffix}.tsv'}, {setup.output / 'results.json'}")
        for picture in pictures:
            print(f"picture: {picture}")
    if setup.speaks:
        notes = _notes_on_speech(about, wanted=args.asr_judge is not None)
    else:
        notes = _notes_on_text(rows, about, setup.counting)
    for line in notes:
        print(line, flush=True)


def _about(
    sweep: Sweep, args: argparse.Namespace, found: Found, rows: Sequence[Row]
) -> dict[str, Any]:
    """The content of results.json beside the points."""
    setup, first = sweep.setup, rows[0].scores
    signatures = [row.scores.signatures for row in rows if row.scores.signatures]
    words = arguments.words_of(args) + (["--", *args.agent_args] if args.agent_args else [])
    about: dict[str, Any] = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["echostream", "curve", *words]),
        "agent": str(setup.agent or setup.agent_class),
        "agent_args": list(setup.agent_args),
        "model_path": str(setup.model_path),
        "source": str(setup.test_set.source),
        "target": str(setup.test_set.target),
        "num_utterances": first.num_utterances,
        "audio_seconds": first.source_ms / 1000,
        "signatures": signatures[0] if signatures else {},
        "published": {line.name: line.score for line in args.published},
        "latency_unit": setup.counting.latency_unit,
        "bootstrap": {"resamples": args.resamples, "seed": bootstrap.SEED, "confidence": 0.95},
        "provenance": sweep.provenance,
        "failures": [
            {"name": f.name, "reason": f.reason, "log": str(f.log)} for f in found.failures
        ],
    }
    if setup.speaks:
        one = next(iter(found.judged.values()), None)
        about["judge"] = None if one is None else one.judge
        about["normalizer"] = None if one is None else one.normalizer
        about["findings"] = findings(found.judged)
    return about


def _notes_on_text(rows: Sequence[Row], about: Mapping[str, Any], counting: Counting) -> list[str]:
    """What a reader of the scores of text has to know."""
    texts = [row.scores for row in rows if isinstance(row.scores, Scores)]
    notes = []
    if num_recomposed := max(scores.num_recomposed for scores in texts):
        notes.append(
            f"{num_recomposed} predictions or references of a point are not in Unicode's composed "
            "form (NFC). All texts are compared in it; SimulEval's BLEU, in the scores.tsv of a "
            "point, is that of the texts as written."
        )
    if counting != WORDS:
        notes.append(f"BLEU: {about['signatures']['BLEU']}")
    return notes


def _notes_on_speech(about: Mapping[str, Any], wanted: bool) -> list[str]:
    """What a reader of the scores of speech has to know; `wanted` if there was a judge."""
    if about["judge"] is None and wanted:
        return ["no quality, and no picture of it: no point could be judged."]
    if about["judge"] is None:
        return [
            "no quality, and no picture of it: nothing was judged. `--asr-judge` names a judge."
        ]
    return [
        f"judge {about['judge']}, recordings {WITHOUT_SILENCE}; normaliser {about['normalizer']} "
        f"of both sides; {about['signatures']['BLEU']}",
        *(f"judge: {line}" for line in about["findings"]),
    ]
