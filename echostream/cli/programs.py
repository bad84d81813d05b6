"""Commands that parse their own flags: `echostream curve`, `long-form` and other evaluations.

They get all arguments after their name, including those after `--`, which are for SimulEval.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module

# Name, the module with its `main`, and its line in `echostream --help`.
PROGRAMS = {
    "curve": ("echostream.evaluation.curve", "latency-quality curves through SimulEval"),
    "long-form": ("echostream.evaluation.long_form", "BLEU when sentences follow each other"),
    "robustness": ("echostream.evaluation.robustness", "BLEU at other levels, and sounds"),
    "speak": ("echostream.evaluation.speak", "recordings with the speech of their translation"),
    "timeline": (
        "echostream.evaluation.timeline.command",
        "a page that shows why each word came when it did",
    ),
    "remote": ("echostream.evaluation.remote.client", "evaluate an agent on another machine"),
}


def run_program(name: str, words: Sequence[str]) -> int:
    """Runs a program; returns its exit status."""
    # SystemExit, so that a terminated sweep ends its processes, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return int(import_module(PROGRAMS[name][0]).main(words))
