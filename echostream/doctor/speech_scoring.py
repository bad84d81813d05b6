"""Makes SimulEval 1.1.4 and its main branch score speech output; StreamSpeech's copy can by itself.

After a run these builds read the instances again from `instances.log`, which lacks what two kinds
of metrics need: `Discontinuity*` end in an `AssertionError`, and the computation-aware metrics in a
`StatisticsError`, because `elapsed` is empty there. Moreover, the plain metrics are computed from
`elapsed` if `--computation-aware` is given.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simuleval.evaluator.evaluator import SentenceLevelEvaluator
from simuleval.evaluator.scorers.latency_scorer import LatencyScorer


def patch_speech_scoring() -> None:
    """Keeps the instances of a run for scoring, and plain metrics free of computing time.

    Changes two methods of the installed SimulEval in this process, and nothing for
    `--score-only`. Does nothing where it is not needed, and in a second call.
    """
    original = getattr(SentenceLevelEvaluator, "build_instances_from_log", None)
    if original is None or getattr(original, "patched", False):
        return

    def build_instances_from_log(self: Any) -> Any:
        return original(self) if self.score_only else None

    def from_args(cls: Any, args: Namespace) -> Any:
        return cls(computation_aware=False, use_ref_len=not args.no_use_ref_len)

    build_instances_from_log.patched = True  # type: ignore[attr-defined]
    SentenceLevelEvaluator.build_instances_from_log = build_instances_from_log
    LatencyScorer.from_args = classmethod(from_args)


@contextmanager
def patched_speech_scoring() -> Iterator[None]:
    """Context in which the two methods are those of `patch_speech_scoring`."""
    before = [
        (owner, name, owner.__dict__[name])
        for owner, name in (
            (SentenceLevelEvaluator, "build_instances_from_log"),
            (LatencyScorer, "from_args"),
        )
        if name in owner.__dict__
    ]
    patch_speech_scoring()
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
