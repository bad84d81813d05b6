"""Start-up time: imports, loading of the model, the first step.

    python -m benchmarks.startup torch PATH

is one such process. PyTorch is imported first, so that the other times do not include it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.figures import Figure, Unavailable, at_most, skipped
from benchmarks.processes import arguments, print_result, run_in_subprocess

# Times the import of PyTorch in the same processes; less is not noticed.
MAX_OF_TORCH = 0.3
# Libraries of training, evaluation, plots and other back ends, which a translation does not need.
FOREIGN = (
    *("tensorboard", "matplotlib", "pandas", "simuleval", "simulstream", "sacrebleu"),
    *("onnx", "onnxruntime"),
)


def measure(bench: Any) -> list[Figure]:
    """The figures of this group."""
    from benchmarks.fixtures import NAMES, export

    figures = []
    for backend in ("torch", "onnx", "onnx-int8"):
        name = f"start-up, {NAMES[backend]}"
        target = at_most(MAX_OF_TORCH, "ratio") if backend == "torch" else None
        try:
            export(bench.model_folder, backend)
            found = [
                run_in_subprocess("benchmarks.startup", backend, str(bench.model_folder))
                for _ in range(bench.scale.processes)
            ]
        except Unavailable as error:
            figures.append(skipped(name, "s", error))
            continue
        loading = f"{name}: loading the model of {bench.size} and heads"

        def median(key: str, found: list[dict[str, Any]] = found) -> float:
            return float(np.median([one[key] for one in found]))

        note = f"median of {len(found)} processes"
        if backend == "torch":
            imports = "import of echostream, without PyTorch's own time"
            whole = "import of all that a session needs, without PyTorch's own time"
            of_torch, torch_s = "import torch", median("torch")
            figures += [
                Figure(imports, median("echostream"), "s", torch_s, of_torch, target, note=note),
                Figure(whole, median("session"), "s", torch_s, of_torch, target, note=note),
                Figure(
                    f"libraries that it does not need but imports, of {len(FOREIGN)}",
                    float(len(found[0]["foreign"])),
                    "",
                    target=at_most(0),
                    note=", ".join(found[0]["foreign"]) or f"none of {', '.join(FOREIGN)}",
                ),
            ]
        step = median("later")
        figures += [
            Figure(
                loading,
                median("load"),
                "s",
                note=note + ("" if backend == "torch" else "; the import of onnxruntime included"),
            ),
            Figure(
                f"{name}: first push of 320 ms",
                median("first"),
                "s",
                step,
                "a later push",
                note=note,
            ),
        ]
    return figures


def start(backend: str, path: str) -> dict[str, Any]:
    """The result of the process, in seconds."""
    times = [time.perf_counter()]

    def lap() -> float:
        times.append(time.perf_counter())
        return times[-1] - times[-2]

    import torch

    of_torch = lap()
    import echostream

    of_echostream = lap()
    session_class = echostream.StreamingTranslator
    of_session = lap() + of_echostream
    foreign = [name for name in FOREIGN if name in sys.modules]

    torch.set_num_threads(1)
    from benchmarks.streams import SessionStream

    lap()
    session = session_class(echostream.load_model(path, backend=backend))
    of_load = lap()
    stream = SessionStream(session)
    lap()
    stream.step()
    of_first = lap()
    later = []
    for _ in range(9):
        stream.step()
        later.append(lap())
    return {
        "torch": of_torch,
        "echostream": of_echostream,
        "session": of_session,
        "foreign": foreign,
        "load": of_load,
        "first": of_first,
        "later": float(np.median(later)),
    }


def main(argv: Sequence[str]) -> None:
    """One process."""
    args = arguments(argv, "backend", "path")
    print_result(lambda: start(args.backend, args.path))


if __name__ == "__main__":
    main(sys.argv[1:])
