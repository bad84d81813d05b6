"""The time of a step in ONNX Runtime by kind of node, from its own profiler.

    python benchmarks/profile_step.py               # the default encoder, 320 ms, one thread
    python benchmarks/profile_step.py --step-ms 640

The profiler itself takes about a microsecond per node, which is included in these figures only.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    # Run as a script: its own folder is first on the path, and must give way to the root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    # Read once, by the libraries below.
    os.environ["OMP_NUM_THREADS"] = "1"

import onnxruntime
import torch

from benchmarks.fixtures import FULL, QUICK, Scale, opened
from echostream.evaluation import provenance
from echostream.streaming import GROUP_FRAMES, GROUP_MS, named_leaves

_WARM, _STEPS = 10, 50


def profile(scale: Scale, step_ms: int) -> dict[str, tuple[float, float]]:
    """The number of nodes of each kind in a step, and their time in ms."""
    with opened(scale) as bench, tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(
            bench.encoder_file("onnx"), options, providers=["CPUExecutionProvider"]
        )
        x = torch.randn(1, step_ms // GROUP_MS * GROUP_FRAMES, bench.scale.config.encoder.input_dim)
        state = bench.encoder.init_state(1, 0)
        inputs = [
            x,
            torch.ones(x.shape[:2], dtype=torch.bool),
            *(v for _, v in named_leaves(state)),
        ]
        names = [value.name for value in session.get_inputs()]
        feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        for _ in range(_WARM + _STEPS):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found: dict[str, list[float]] = collections.defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            found[event["args"]["op_name"]].append(event["dur"])
    runs = _WARM + _STEPS
    return {kind: (len(us) / runs, sum(us) / runs / 1000) for kind, us in found.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="profile_step.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--step-ms", type=int, default=320, help="multiple of 160 (320)")
    parser.add_argument("--quick", action="store_true", help="a tiny model")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = profile(QUICK if args.quick else FULL, args.step_ms)
    total = sum(ms for _, ms in found.values())
    print(f"| node | in a step | ms | of {total:.1f} ms |\n|---|---:|---:|---:|")
    for kind, (count, ms) in sorted(found.items(), key=lambda item: -item[1][1]):
        print(f"| {kind} | {count:.0f} | {ms:.3f} | {ms / total:.1%} |")
    where = provenance.commit()
    print(f"\ncommit {where['commit']}, onnxruntime {onnxruntime.__version__}, one thread")
    return 0


if __name__ == "__main__":
    sys.exit(main())
