"""All that is claimed of speed and memory, measured in one run: `make bench`.

    python benchmarks/run.py                        # everything, about ten minutes
    python benchmarks/run.py --only step session    # some groups of figures
    python benchmarks/run.py --quick                # a tiny model: does everything run?

The table goes to the standard output; each figure also to bench.json in `--output`, with machine,
versions and commit, as soon as its group has been measured. The process, and every process that
it starts, keeps to one core and one thread. The exit status is 0 if everything ran: a figure that
misses its target or needs what is not installed is marked in the table and is no failure.

A ratio is a figure divided by what it is compared with, both from the same run. Times are medians,
with the 10th and 90th percentile; what is compared takes turns. Units: ms, s and MB of a million
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
    decoder,
    gpu,
    history,
    hour,
    memory,
    peers,
    session,
    startup,
    state,
    step,
    table,
)
from benchmarks.figures import Figure
from benchmarks.subjects import FULL, QUICK, Bench, opened
from echostream.evaluation import provenance
from echostream.files import write_whole

GROUPS: dict[str, Callable[[Bench], list[Figure]]] = {
    "step": step.measure,
    "history": history.measure,
    "batch": batch.measure,
    "decoder": decoder.measure,
    "session": session.measure,
    "state": state.measure,
    "memory": memory.measure,
    "startup": startup.measure,
    "agent": agent.measure,
    "hour": hour.measure,
    "gpu": gpu.measure,
    "peers": peers.measure,
}

_OPTIONAL = ("transformers",)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the table, returns the exit status."""
    args = _parse(argv)
    core = _keep_to_one_core(args.core)
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
    """Where, when and with what the figures are made."""
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
    """What one needs to read the table and to make it again."""
    versions = ", ".join(
        f"{name} {about['versions'][name] or 'not installed'}"
        for name in ("python", "torch", "onnxruntime")
    )
    changed = " with changes" if about["dirty"] else ""
    pinned = "not kept to one core" if about["core"] is None else "kept to one core"
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
        lines.append("A quick run of a tiny model: these figures say nothing of the real one.")
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
    parser.add_argument("--core", type=int, help="the core to keep to; without it, the last one")
    return parser.parse_args(argv)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _keep_to_one_core(core: int | None) -> int | None:
    """Keeps this process, and its children, to one core; None where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    chosen = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {chosen})
    return chosen


if __name__ == "__main__":
    sys.exit(main())
