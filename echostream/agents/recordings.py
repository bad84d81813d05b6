"""The check of the lists and recordings that an agent does before an evaluation begins.

Agents are built before SimulEval empties `instances.log`: the last moment at which a fault costs no
result of an earlier run.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from echostream.evaluation.test_set import check_lists


def check_recordings(args: Namespace) -> None:
    """Checks `args.source`, `args.target` and the recordings from `start_index` to `end_index`.

    Does nothing if SimulEval has no list (a standalone agent, another data loader).

    Raises InputError naming all faults of the lists and recordings.
    """
    source, target = getattr(args, "source", None), getattr(args, "target", None)
    other_loader = getattr(args, "dataloader", None) is not None
    if source is None or other_loader or not Path(source).is_file():
        return
    check_lists(
        Path(source),
        None if target is None else Path(target),
        getattr(args, "start_index", 0),
        getattr(args, "end_index", -1),
    )
