"""Live sessions per core: real websockets at real time, and the lag of each word.

    python -m benchmarks.serve_load --output out/serve-load
    python -m benchmarks.serve_load --models demo --backends torch --sessions 8 16 --seconds 30

For each model, back end and number of sessions a server runs on one core and its clients on
another. Every session sends its audio in pieces of 100 ms, as a microphone does, from a moment of
its own within the first second. The sessions share eight recordings. The lag of a word
is the time from the end of the audio that it needs, which a session of its own tells, to its
arrival at the client. All words must be those of that session.

A number of sessions is carried if the lag of 99 % of the words is below 320 ms + 160 ms (1 + L).
After the first number that is not, the larger ones are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import websockets
from numpy.typing import NDArray

from benchmarks.fixtures import BACKENDS, EXAMPLES, FULL, NAMES, QUICK, Bench, export, opened
from benchmarks.synthetic_audio import SyntheticAudio
from echostream.evaluation.joined import load
from echostream.evaluation.provenance import machine
from echostream.files import make_folder, write_whole
from echostream.model_folder import load_model
from echostream.scoring.tables import json_text, markdown_table
from echostream.server.client import PATH
from echostream.server.events import as_pcm16
from echostream.session.translator import StreamingTranslator
from echostream.streaming import SAMPLE_RATE

PIECE = SAMPLE_RATE // 10  # samples
MODELS = ("demo", "large")
SEGMENT_MS = 320
DIFFERENT = 8  # recordings
_PAUSE = np.zeros(SAMPLE_RATE * 2 // 5, np.float32)


@dataclass(frozen=True)
class Talk:
    """The audio of a session, and the words that it must give, with the time that each needs."""

    data: bytes  # PCM16 at 16 kHz
    words: tuple[str, ...]
    needed_ms: tuple[float, ...]


@dataclass(frozen=True)
class Load:
    """The result for one number of sessions; lags in ms."""

    model: str
    backend: str
    sessions: int
    words: int
    wrong: int  # sessions with other words than a session of their own
    p50: float
    p99: float
    worst: float
    bound: float
    cpu: float  # share of the server's core

    @property
    def carried(self) -> bool:
        """Whether all words are right and 99 % of them in time."""
        return not self.wrong and self.p99 <= self.bound


def make_talks(
    folder: Path, backend: str, samples: Sequence[NDArray[np.float32]], look_ahead: int
) -> list[Talk]:
    """The talks of recordings (S,) at 16 kHz, whose words are those of the back end."""
    model = load_model(folder, backend=backend)
    session = StreamingTranslator(model, max_future_frames=look_ahead)
    talks = []
    for recording in samples:
        data = as_pcm16(recording)
        received = np.frombuffer(data, "<i2") / np.float32(32768)
        session.reset()
        words: list[tuple[str, float]] = []
        for start in range(0, len(received), PIECE // 10):
            for output in session.push(received[start : start + PIECE // 10], SAMPLE_RATE):
                words += [(word, output.delay_ms) for word in output.words]
        for output in session.finish():
            words += [(word, output.delay_ms) for word in output.words]
        texts, times = zip(*words, strict=True) if words else ((), ())
        talks.append(Talk(data, texts, times))
    return talks


def audio(model: str, count: int, seconds: float) -> list[NDArray[np.float32]]:
    """Recordings of `seconds` each: of the examples in another order each time, or made up."""
    size = round(seconds * SAMPLE_RATE)
    if model != "demo":
        return [SyntheticAudio(seed).next(size) for seed in range(count)]
    generator = np.random.default_rng(0)
    examples = [load(path) for path in sorted(EXAMPLES.glob("*.flac"))]
    found = []
    for _ in range(count):
        parts: list[NDArray[np.float32]] = []
        while sum(map(len, parts)) < size:
            parts += [examples[int(generator.integers(len(examples)))], _PAUSE]
        found.append(np.concatenate(parts)[:size])
    return found


class Server(NamedTuple):
    """A server that runs."""

    url: str  # of its websocket
    pid: int


async def run_session(url: str, talk: Talk, wait: float) -> tuple[list[float], bool]:
    """The lags of the words of a session, and whether they are the right ones."""
    await asyncio.sleep(wait)
    async with websockets.connect(url, max_queue=None) as link:
        about = {"echostream": {"sample_rate": SAMPLE_RATE, "speech": False}}
        await link.send(json.dumps({"type": "session.update", "session": about}))
        begin = time.monotonic()

        async def send() -> None:
            step = 2 * PIECE
            for number, start in enumerate(range(0, len(talk.data), step), 1):
                await asyncio.sleep(max(0.0, begin + number / 10 - time.monotonic()))
                piece = base64.b64encode(talk.data[start : start + step]).decode()
                message = {"type": "session.input_audio_buffer.append", "audio": piece}
                await link.send(json.dumps(message))
            await link.send(json.dumps({"type": "session.close"}))

        sending = asyncio.create_task(send())
        words: list[str] = []
        lags: list[float] = []
        try:
            async for text in link:
                event, now = json.loads(text), time.monotonic()
                if event["type"] == "error":
                    raise RuntimeError(event["error"]["message"])
                if event["type"] == "session.output_transcript.delta":
                    for word in event["delta"].split():
                        if len(words) < len(talk.needed_ms):
                            lags.append(1000 * (now - begin) - talk.needed_ms[len(words)])
                        words.append(word)
                elif event["type"] == "session.closed":
                    break
        except asyncio.CancelledError:
            link.transport.abort()  # as a machine that is switched off
            raise
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    return lags, tuple(words) == talk.words


def measure(
    folder: Path, backend: str, talks: Sequence[Talk], look_ahead: int, cores: Sequence[int]
) -> Load:
    """Serves the talks at once; the server has the first core, the clients the second."""
    flags = ("--backend", backend, "--max-future-frames", str(look_ahead))
    with serving(folder, len(talks), cores, *flags) as server:
        before, began = _cpu_seconds(server.pid), time.monotonic()
        waits = np.random.default_rng(1).uniform(0, 1, len(talks))

        async def run_all() -> list[tuple[list[float], bool]]:
            sessions = (
                run_session(server.url, talk, wait) for talk, wait in zip(talks, waits, strict=True)
            )
            return list(await asyncio.gather(*sessions))

        found = asyncio.run(run_all())
        share = (_cpu_seconds(server.pid) - before) / (time.monotonic() - began)
    lags = np.array([lag for mine, _ in found for lag in mine])
    p50, p99, worst = np.percentile(lags, [50, 99, 100]) if len(lags) else (np.nan,) * 3
    bound = SEGMENT_MS + 160 * (1 + look_ahead)
    wrong = sum(not right for _, right in found)
    return Load(folder.name, backend, len(talks), len(lags), wrong, p50, p99, worst, bound, share)


@contextmanager
def serving(folder: Path, capacity: int, cores: Sequence[int], *flags: str) -> Iterator[Server]:
    """A server on the first core, while this process has the last one."""
    command = [sys.executable, "-m", "echostream", "serve", str(folder), "--port", "0"]
    command += ["--capacity", str(capacity), "--no-speech", *flags]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    os.sched_setaffinity(0, {cores[0]})  # the process that is started keeps it
    server = subprocess.Popen(command, env=variables, stderr=subprocess.PIPE)
    os.sched_setaffinity(0, {cores[-1]})
    assert server.stderr is not None
    try:
        url = f"ws://{_address(server.stderr)}{PATH}"
        reading = threading.Thread(target=server.stderr.read)  # else the pipe would fill
        reading.start()
        yield Server(url, server.pid)
        server.terminate()
        reading.join()
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


def _address(log: IO[bytes]) -> str:
    """HOST:PORT of a server that has begun to serve, from its log."""
    for line in log:
        if b'"url"' in line:
            return str(json.loads(line)["url"]).partition("//")[2].rstrip("/")
    raise RuntimeError("the server has ended before it served.")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def table(loads: Sequence[Load]) -> str:
    """The results as Markdown."""
    rows = [["model", "back end", "sessions", "p50", "p99", "worst", "bound", "core", "carried"]]
    for one in loads:
        numbers = [f"{value:.0f}" for value in (one.p50, one.p99, one.worst, one.bound)]
        why = "yes" if one.carried else f"no: {one.wrong} wrong" if one.wrong else "no"
        rows.append(
            [one.model, NAMES[one.backend], str(one.sessions), *numbers, f"{one.cpu:.0%}", why]
        )
    return markdown_table(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all of it; 1 if a session had wrong words."""
    args = _parser().parse_args(argv)
    cores = sorted(os.sched_getaffinity(0))
    loads: list[Load] = []
    make_folder(args.output)
    with opened(QUICK if args.quick else FULL) as bench:
        for model in args.models:
            folder = _folder_of(bench, model)
            for backend in args.backends:
                export(folder, backend)
            recordings = audio(model, min(DIFFERENT, max(args.sessions)), args.seconds)
            for backend in args.backends:
                talks = make_talks(folder, backend, recordings, args.max_future_frames)
                for sessions in sorted(args.sessions):
                    mine = [talks[number % len(talks)] for number in range(sessions)]
                    load = measure(folder, backend, mine, args.max_future_frames, cores)
                    loads.append(load)
                    print(table([load]).splitlines()[-1], flush=True)
                    content = {"machine": machine(), "loads": [one.__dict__ for one in loads]}
                    write_whole(args.output / "serve-load.json", json_text(content))
                    if not load.carried:
                        break
    os.sched_setaffinity(0, set(cores))
    write_whole(args.output / "serve-load.md", table(loads) + "\n")
    print(table(loads))
    return 1 if any(one.wrong for one in loads) else 0


def _folder_of(bench: Bench, model: str) -> Path:
    return bench.demo_folder if model == "demo" else bench.model_folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("out/serve-load"), help="folder for the table")
    add("--models", nargs="+", choices=MODELS, default=list(MODELS), help="demo, or 42 M at random")
    add("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    add("--sessions", type=int, nargs="+", default=[4, 8, 12, 16, 24, 32, 40], help="at once")
    add("--seconds", type=float, default=180, help="of audio in each session")
    add("--max-future-frames", type=int, default=0, help="look-ahead L")
    add("--quick", action="store_true", help="tiny models, to test the code")
    return parser


if __name__ == "__main__":
    sys.exit(main())
