"""Does a stream get slower or bigger with age? State bytes and step time, early and late.

    python benchmarks/long_stream.py                                    # the default encoder
    python benchmarks/long_stream.py --model-path models/fr-en-demo     # network and session

A step hears one segment (320 ms). One stream is brought to second 10, another to minute 30, and
then both are stepped in turn, so that whatever else the machine does falls on both alike. Printed,
as Markdown: bytes of the state of one stream, resident memory of the process, and the median time
of a step over the window, with the ratio of late to early. The input is seeded; one thread.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch

if __package__ in (None, ""):
    # Run as a script: its own folder is first on the path, and must give way to the root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.streams import FeatureStream, SessionStream, Stream
from echostream import ZipformerEncoder
from echostream.evaluation import provenance
from echostream.model_folder import load_model
from echostream.session.translator import StreamingTranslator
from echostream.streaming import GROUP_MS

EARLY_SECONDS = 10
_SEED = 0


@dataclass(frozen=True)
class Measured:
    """A quantity early and late in a stream."""

    name: str
    early: float
    late: float
    unit: str

    def row(self) -> str:
        """Its row of the table."""
        shown = "{:,.0f}" if self.unit == "bytes" else "{:.2f}"
        early, late = shown.format(self.early), shown.format(self.late)
        return f"| {self.name} ({self.unit}) | {early} | {late} | {self.late / self.early:.3f} |"


def measure(
    name: str, make: Callable[[], Stream], seconds: int, segment_ms: int, window: int
) -> list[Measured]:
    """Compare a stream at `EARLY_SECONDS` with one at `seconds`.

    window: steps of each that are timed, after as many as fit into `EARLY_SECONDS` to warm up.
    """
    first, late = -(-EARLY_SECONDS * 1000 // segment_ms), -(-seconds * 1000 // segment_ms)
    old, young = make(), make()
    for _ in range(first):
        old.step()
        young.step()
    early_bytes, early_memory = old.nbytes(), resident_mib()
    for _ in range(late - first):
        old.step()
    results = [Measured(f"{name}: state of one stream", early_bytes, old.nbytes(), "bytes")]
    memory = resident_mib()
    if early_memory is not None and memory is not None:
        results.append(Measured(f"{name}: memory of the process", early_memory, memory, "MiB"))
    times: dict[str, list[float]] = {"young": [], "old": []}
    gc.collect()
    for count in range(window):
        # Who goes first changes, in case the second finds warmer caches.
        turns = [("young", young), ("old", old)]
        for which, stream in turns if count % 2 else reversed(turns):
            start = time.perf_counter()
            stream.step()
            times[which].append(1000 * (time.perf_counter() - start))
    young_ms, old_ms = statistics.median(times["young"]), statistics.median(times["old"])
    results.append(Measured(f"{name}: median time of a step", young_ms, old_ms, "ms"))
    return results


def resident_mib() -> float | None:
    """Resident memory of this process in MiB; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * 4096 / 2**20


def subjects(args: argparse.Namespace) -> list[tuple[str, Callable[[], Stream]]]:
    """What is measured, by name: the default encoder, or the parts of a model folder."""
    segment_ms, lookahead = args.segment_ms, args.max_future_frames
    if args.model_path is None:
        torch.manual_seed(_SEED)
        encoder = ZipformerEncoder().eval()
        size = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
        name = f"default encoder, {size:.1f} M parameters"
        return [(name, lambda: FeatureStream(encoder, segment_ms, 1, lookahead))]
    model = load_model(args.model_path)
    size = sum(parameter.numel() for parameter in model.network.parameters()) / 1e6

    def session() -> SessionStream:
        translator = StreamingTranslator(model, max_future_frames=lookahead)
        return SessionStream(translator, segment_ms)

    return [
        (
            f"{args.model_path.name}, {size:.1f} M parameters, network on features",
            lambda: FeatureStream(model.network, segment_ms, 1, lookahead),
        ),
        (f"{args.model_path.name}, session on audio", session),
    ]


def report(measured: Sequence[Measured], args: argparse.Namespace) -> str:
    """The Markdown table, with what one needs to make it again."""
    where = provenance.commit()
    changed = " with changes" if where["dirty"] else ""
    end = EARLY_SECONDS + args.window * args.segment_ms / 1000
    lines = [
        f"| one step = {args.segment_ms} ms of audio, L = {args.max_future_frames} "
        f"| at {EARLY_SECONDS} s | at {args.minutes} min | ratio |",
        "|---|---:|---:|---:|",
        *(entry.row() for entry in measured),
        "",
        f"{datetime.now(timezone.utc):%Y-%m-%d}, commit {where['commit']}{changed}, "
        f"torch {torch.__version__}, {provenance.cpu_model()}, {torch.get_num_threads()} thread. "
        f"Times: medians of {args.window} steps of each stream, taken in turn; the early ones are "
        f"seconds {EARLY_SECONDS} to {end:.0f} of the stream.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, return the exit status."""
    parser = argparse.ArgumentParser(
        prog="long_stream.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model-path", type=Path, help="model folder; without it, the encoder")
    parser.add_argument("--minutes", type=int, default=30, help="age of the old stream (30)")
    parser.add_argument("--segment-ms", type=int, default=320, help="multiple of 160 (320)")
    parser.add_argument("--max-future-frames", type=int, default=0, help="look-ahead L (0)")
    parser.add_argument("--window", type=int, default=100, help="timed steps of each stream (100)")
    args = parser.parse_args(argv)
    if args.segment_ms < GROUP_MS or args.segment_ms % GROUP_MS:
        parser.error(f"`--segment-ms` must be a multiple of {GROUP_MS}, not {args.segment_ms}")
    if args.minutes < 1 or args.window < 1:
        parser.error("`--minutes` and `--window` must be positive")
    torch.set_num_threads(1)
    measured = []
    with torch.inference_mode():
        for name, make in subjects(args):
            measured += measure(name, make, 60 * args.minutes, args.segment_ms, args.window)
    print(report(measured, args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
