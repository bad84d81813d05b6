"""All benchmarks of speed and memory in one run: `make bench`.

    python benchmarks/run.py                        # everything, about ten minutes
    python benchmarks/run.py --only step session    # some groups of figures
    python benchmarks/run.py --quick                # a tiny model, to test the code

The table goes to the standard output. After each group, its figures are also written to bench.json
in `--output`, with machine, versions and commit. The process, and every process that it starts,
uses one core and one thread. The exit status is 0 if everything ran: figures that miss their target
or need a missing package are marked in the table and are no failure.

A ratio is a figure divided by its reference, both from the same run. Times are medians, with the
10th and 90th percentile; compared calls are timed in turn. Units: ms, s and MB of a million
bytes; RTF is seconds of computing per second of audio.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    # Run as a script: its own folder is first on the path, and must give way to the root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    # Read once, by the libraries below.
    os.environ["OMP_NUM_THREADS"] = "1"

import torch

from benchmarks import (
    agent,
    batch,
    code_hifigan,
    decoder,
    gpu,
    long_speech,
    memory,
    peers,
    reencode,
    session,
    soak,
    speech,
    startup,
    state,
    step,
    table,
    train_step,
    vocoder,
)
from benchmarks.figures import Figure
from benchmarks.fixtures import FULL, QUICK, Bench, opened
from echostream.evaluation import provenance
from echostream.files import write_whole

GROUPS: dict[str, Callable[[Bench], list[Figure]]] = {
    "step": step.measure,
    "reencode": reencode.measure,
    "batch": batch.measure,
    "decoder": decoder.measure,
    "vocoder": vocoder.measure,
    "session": session.measure,
    "code_hifigan": code_hifigan.measure,
    "speech": speech.measure,
    "state": state.measure,
    "memory": memory.measure,
    "startup": startup.measure,
    "agent": agent.measure,
    "soak": soak.measure,
    "long_speech": long_speech.measure,
    "train_step": train_step.measure,
    "gpu": gpu.measure,
    "peers": peers.measure,
}

_OPTIONAL = ("transformers",)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the table, returns the exit status."""
    args = _parse(argv)
    core = _pin_to_one_core(args.core)
    torch.set_num_threads(1)
    about = describe(core, args)
    args.output.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    begin = time.perf_counter()
    with opened(QUICK if args.quick else FULL) as bench, torch.inference_mode():
        for name in args.only or GROUPS:
            if name in args.skip:
                continue
            start = time.perf_counter()
            found = GROUPS[name](bench)
            figures += found
            taken = time.perf_counter() - start
            about["seconds"][name] = round(taken, 1)
            text = json.dumps({**about, "figures": [one.as_dict() for one in figures]}, indent=1)
            write_whole(args.output / "bench.json", text + "\n")
            print(f"bench: {name}: {len(found)} figures in {taken:.0f} s", file=sys.stderr)
    print(table.markdown(figures))
    print()
    print(epilogue(about, figures, time.perf_counter() - begin))
    return 0


def describe(core: int | None, args: argparse.Namespace) -> dict[str, Any]:
    """Date, commit, machine and versions of the figures."""
    return {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        **provenance.commit(),
        "machine": provenance.machine(),
        "versions": {**provenance.versions(), **{name: _version(name) for name in _OPTIONAL}},
        "threads": torch.get_num_threads(),
        "core": core,
        "quick": args.quick,
        "seconds": {},
    }


def epilogue(about: dict[str, Any], figures: Sequence[Figure], seconds: float) -> str:
    """The context of the table: date, commit, machine, versions, and how many targets are met."""
    versions = ", ".join(
        f"{name} {about['versions'][name] or 'not installed'}"
        for name in ("python", "torch", "onnxruntime")
    )
    changed = " with changes" if about["dirty"] else ""
    pinned = "not pinned to one core" if about["core"] is None else "pinned to one core"
    with_target = [figure for figure in figures if figure.target is not None]
    lines = [
        f"{about['date']}, commit {about['commit']}{changed}, {about['machine']['cpu']}, "
        f"{about['machine']['num_cpus']} cores, {versions}; {about['threads']} thread, {pinned}; "
        f"{seconds / 60:.1f} minutes.",
        f"Of {len(with_target)} targets {sum(one.meets is True for one in with_target)} are met, "
        f"{sum(one.meets is False for one in with_target)} missed and "
        f"{sum(one.meets is None for one in with_target)} not measured.",
    ]
    if about["quick"]:
        lines.append("A quick run of a tiny model: these figures are not those of the real one.")
    return "\n".join(lines)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    groups: dict[str, Any] = {
        "nargs": "+",
        "choices": list(GROUPS),
        "metavar": "GROUP",
        "default": [],
    }
    names = ", ".join(GROUPS)
    parser.add_argument("--only", **groups, help=f"groups to measure, of {names}")
    parser.add_argument("--skip", **groups, help="groups to leave out")
    parser.add_argument("--quick", action="store_true", help="a tiny model, for a minute")
    parser.add_argument("--output", type=Path, default=Path("out/bench"), help="(out/bench)")
    parser.add_argument("--core", type=int, help="the core to use; without it, the last one")
    return parser.parse_args(argv)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _pin_to_one_core(core: int | None) -> int | None:
    """Pins this process and its children to one core; None if the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    chosen = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {chosen})
    return chosen


if __name__ == "__main__":
    sys.exit(main())
