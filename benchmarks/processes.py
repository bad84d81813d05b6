"""Measurements in a fresh process: peak memory, a long session, start-up."""

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


def run_in_subprocess(module: str, *arguments: str) -> dict[str, Any]:
    """The result of a fresh process of `python -m module arguments`, on the cores of this process.

    Raises Unavailable if the process does, and RuntimeError with the end of its errors if it fails.
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


def print_result(measure: Callable[[], dict[str, Any]]) -> None:
    """Prints the result of `measure` as the line that `run_in_subprocess` reads."""
    try:
        found = measure()
    except Unavailable as error:
        found = {"unavailable": str(error)}
    print(json.dumps(found))


def arguments(argv: Sequence[str], *names: str) -> argparse.Namespace:
    """The positional arguments of such a process, by these names in this order."""
    parser = argparse.ArgumentParser()
    for name in names:
        parser.add_argument(name)
    return parser.parse_args(argv)
