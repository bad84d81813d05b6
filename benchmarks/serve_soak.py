"""A server under load for half an hour: memory, open files and threads stay as they were.

    python -m benchmarks.serve_soak --output out/serve-soak
    python -m benchmarks.serve_soak --quick --minutes 0.5 --sessions 2

A server with a capacity of twice the sessions runs on one core, its clients on another. Every place
has one session of two minutes after the other, with audio at real time; each fourth session
vanishes in the middle, its connection being aborted. All words must be those of a session of its
own, and the lag is that of `serve_load`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.fixtures import BACKENDS, FULL, NAMES, QUICK, export, opened
from benchmarks.memory import memory_mb
from benchmarks.serve_load import MODELS, Talk, audio, make_talks, run_session, serving
from echostream.evaluation.provenance import machine
from echostream.files import make_folder, write_whole
from echostream.scoring.tables import json_text, markdown_table

SAMPLE_SECONDS = 10.0
TALK_SECONDS = 120.0
MAX_GROWTH_MB = 10.0


@dataclass(frozen=True)
class Usage:
    """What the server has at one moment."""

    minutes: float
    resident_mb: float
    files: int  # file descriptors
    threads: int


@dataclass
class Soak:
    """What was seen."""

    usages: list[Usage] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)  # ms
    ended: int = 0  # sessions
    vanished: int = 0
    wrong: int = 0

    def early(self) -> Usage:
        """The usage after the first sixth, when every session has been at work."""
        return self.usages[len(self.usages) // 6]

    @property
    def flat(self) -> bool:
        """Whether the end is as the beginning: memory within a bound, all else equal or less."""
        early, late = self.early(), self.usages[-1]
        grown = late.resident_mb - early.resident_mb
        more = late.files > early.files or late.threads > early.threads
        return grown <= MAX_GROWTH_MB and not more


def usage(pid: int, began: float) -> Usage:
    """The usage of a process."""
    folder = Path(f"/proc/{pid}")
    files, threads = (len(list((folder / name).iterdir())) for name in ("fd", "task"))
    return Usage((time.monotonic() - began) / 60, memory_mb("VmRSS", str(pid)), files, threads)


async def soak(url: str, pid: int, talks: Sequence[Talk], seconds: float) -> Soak:
    """One session after the other for each talk, until the time is over."""
    found = Soak()
    began = time.monotonic()

    async def serve(number: int, talk: Talk) -> None:
        await asyncio.sleep(number / len(talks))
        turn = number
        while time.monotonic() - began < seconds:
            turn += 1
            session = run_session(url, talk, 0.0)
            if turn % 4 == 0:
                length = len(talk.data) / 32000
                try:
                    await asyncio.wait_for(session, length / 2)
                except asyncio.TimeoutError:
                    found.vanished += 1
                continue
            lags, right = await session
            found.lags += lags
            found.ended += 1
            found.wrong += not right

    async def watch() -> None:  # as long as every place has a session
        while time.monotonic() - began < seconds:
            await asyncio.sleep(min(SAMPLE_SECONDS, seconds / 10))
            found.usages.append(usage(pid, began))

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(serve(number, talk) for number, talk in enumerate(talks)), watching)
    return found


def table(found: Soak) -> str:
    """Usage at the beginning, at the end, and at most."""
    most = Usage(
        found.usages[-1].minutes,
        max(each.resident_mb for each in found.usages),
        max(each.files for each in found.usages),
        max(each.threads for each in found.usages),
    )
    rows = [["", "minute", "resident MB", "open files", "threads"]]
    for name, each in (("early", found.early()), ("end", found.usages[-1]), ("most", most)):
        numbers = [f"{each.minutes:.1f}", f"{each.resident_mb:.0f}"]
        rows.append([name, *numbers, str(each.files), str(each.threads)])
    return markdown_table(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all of it; 1 if words were wrong or the usage has grown."""
    args = _parser().parse_args(argv)
    cores = sorted(os.sched_getaffinity(0))
    make_folder(args.output)
    with opened(QUICK if args.quick else FULL) as bench:
        folder = bench.demo_folder if args.model == "demo" else bench.model_folder
        export(folder, args.backend)
        seconds = min(TALK_SECONDS, 60 * args.minutes / 4)
        recordings = audio("large" if args.quick else args.model, args.sessions, seconds)
        talks = make_talks(folder, args.backend, recordings, 0)
        flags = ("--backend", args.backend, "--max-future-frames", "0")
        with serving(folder, 2 * args.sessions, cores, *flags) as server:
            found = asyncio.run(soak(server.url, server.pid, talks, 60 * args.minutes))
    os.sched_setaffinity(0, set(cores))
    content = {"machine": machine(), **asdict(found)}
    write_whole(args.output / "serve-soak.json", json_text(content))
    write_whole(args.output / "serve-soak.md", table(found) + "\n")
    p50, p99 = np.percentile(found.lags or [np.nan], [50, 99])
    print(table(found))
    print(
        f"{args.sessions} sessions at once, {args.model}, {NAMES[args.backend]}: {found.ended} "
        f"ended, {found.vanished} vanished, {found.wrong} with wrong words; lag p50 {p50:.0f} ms, "
        f"p99 {p99:.0f} ms"
    )
    return 0 if found.flat and found.ended and not found.wrong else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("out/serve-soak"), help="folder for the table")
    add("--model", choices=MODELS, default="demo", help="demo, or 42 M at random")
    add("--backend", choices=BACKENDS, default="torch")
    add("--sessions", type=int, default=8, help="at once, half of what the server admits")
    add("--minutes", type=float, default=30)
    add("--quick", action="store_true", help="a tiny model, to test the code")
    return parser


if __name__ == "__main__":
    sys.exit(main())
