"""Peak memory of a process with one stream of five minutes.

    python -m benchmarks.memory encoder onnx PATH 300

is that process: it prints its resident memory after the imports and after loading, and its peak
until the end of loading and until the end, in MB of a million bytes (VmRSS and VmHWM).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import Figure, Unavailable, at_most, skipped
from benchmarks.fixtures import NAMES, Bench, export, open_encoder
from benchmarks.processes import arguments, print_result, run_in_subprocess
from benchmarks.streams import STEP_MS, FeatureStream, SessionStream
from echostream.model_folder import load_model
from echostream.session.translator import StreamingTranslator

MAX_MB = 500


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    figures = []
    seconds = bench.scale.stream_s
    for subject, backend in (
        ("encoder", "onnx"),
        ("session", "onnx"),
        ("session", "torch"),
        ("session", "onnx-int8"),
    ):
        name = f"peak memory, {subject}, {seconds} s stream, {NAMES[backend]}"
        target = at_most(MAX_MB) if backend == "onnx" else None
        try:
            found = run_in_subprocess(
                "benchmarks.memory",
                subject,
                backend,
                str(_path(bench, subject, backend)),
                str(seconds),
            )
        except Unavailable as error:
            figures.append(skipped(name, "MB", error, target))
            continue
        note = (
            f"{found['imported']:.0f} after the imports, {found['loaded']:.0f} after loading, "
            f"in which the highest was {found['loading']:.0f}"
        )
        figures.append(Figure(name, found["peak"], "MB", target=target, note=note))
    return figures


def _path(bench: Bench, subject: str, backend: str) -> Path:
    """The file or folder to load, exported before because an export takes more memory."""
    if subject == "encoder":
        return bench.encoder_file(backend)
    export(bench.model_folder, backend)
    return bench.model_folder


def memory_mb(field: str, process: str = "self") -> float:
    """A field of /proc/PROCESS/status, in MB."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
        (line,) = (line for line in lines if line.startswith(f"{field}:"))
    except (OSError, ValueError) as error:
        raise Unavailable(f"this system has no {field} in /proc/{process}/status") from error
    return int(line.split()[1]) * 1024 / 1e6


def run_stream(subject: str, backend: str, path: Path, seconds: int) -> dict[str, Any]:
    """The result of the process."""
    torch.set_num_threads(1)
    imported = memory_mb("VmRSS")
    step: Callable[[], object]
    with torch.inference_mode():
        if subject == "encoder":
            step = FeatureStream(open_encoder(path)).step
        else:
            step = SessionStream(StreamingTranslator(load_model(path, backend=backend))).step
        loaded, loading = memory_mb("VmRSS"), memory_mb("VmHWM")
        for _ in range(-(-1000 * seconds // STEP_MS)):
            step()
    return {
        "imported": imported,
        "loading": loading,
        "loaded": loaded,
        "peak": memory_mb("VmHWM"),
    }


def main(argv: Sequence[str]) -> None:
    """One process."""
    args = arguments(argv, "subject", "backend", "path", "seconds")
    print_result(lambda: run_stream(args.subject, args.backend, Path(args.path), int(args.seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
