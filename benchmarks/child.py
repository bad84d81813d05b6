"""Figures of a process of their own: its peak memory, its age, its start."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.figures import Unavailable
from echostream.evaluation.provenance import ROOT


def ask(module: str, *arguments: str) -> dict[str, Any]:
    """What a fresh process of `python -m module arguments` answers.

    It runs on the cores of this process. Raises Unavailable if that is its answer, and
    RuntimeError with the end of its errors if it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = " ".join([module, *arguments])
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "unavailable" in found:
        raise Unavailable(found["unavailable"])
    return found


def answer(measure: Callable[[], dict[str, Any]]) -> None:
    """Prints what `measure` finds as the line that `ask` reads."""
    try:
        found = measure()
    except Unavailable as error:
        found = {"unavailable": str(error)}
    print(json.dumps(found))


def arguments(argv: Sequence[str], *names: str) -> argparse.Namespace:
    """The arguments of such a process: words with these names, in this order."""
    parser = argparse.ArgumentParser()
    for name in names:
        parser.add_argument(name)
    return parser.parse_args(argv)
