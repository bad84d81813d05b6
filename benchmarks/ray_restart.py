"""Live sessions through a rolling restart on Ray Serve, and through the loss of a replica.

    python -m benchmarks.ray_restart --output out/ray-restart
    python -m benchmarks.ray_restart --quick

Starts a cluster of its own with two replicas of the demo model, each with places for half of the
clients. The clients send audio at real time, as microphones do. After a third of the time the
application is deployed again: each replica is replaced by another, and the sessions go on there.
The last piece of audio of each is sent when all replicas are new. The words of each client must be
those of a session of its own, and the table has their lag, as in `serve_load`. Then a replica is
killed. Its clients must get an error, and new sessions a place.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fixtures import FULL, QUICK, opened
from benchmarks.serve_load import PIECE, Talk, audio, make_talks
from echostream.evaluation.provenance import machine
from echostream.files import make_folder, write_whole
from echostream.scoring.tables import json_text, markdown_table
from echostream.server.client import RealtimeClient, ServerError
from echostream.server.served import ServedModel
from echostream.server.settings import ServerSettings
from echostream.streaming import SAMPLE_RATE

CLIENTS = 4
REPLICAS = 2
SHORT_SECONDS = 12  # of the audio of the sessions of which a replica is killed
KILLED_SECONDS = 4  # after their beginning


@dataclass(frozen=True)
class Session:
    """What one client has seen; lags in ms."""

    words: int
    right: bool  # whether they are those of a session of its own
    moves: int  # to another replica
    p50: float
    p99: float
    worst: float


@dataclass(frozen=True)
class Restart:
    """The result of one run."""

    sessions: list[Session]
    deploy_seconds: float  # from the call to the last new replica that is ready
    lost: int  # clients that got an error when a replica was killed
    went_on: int  # clients of the other replica, with all of their words
    again: bool  # whether as many new sessions were then served


class Client(RealtimeClient):
    """A client that notes when each word came."""

    def __init__(self, url: str, talk: Talk, until: threading.Event | None = None) -> None:
        options = {"sample_rate": SAMPLE_RATE, "speech": False}
        super().__init__(url, None, options, self._add, lambda _: None)
        self.talk = talk
        self._until = until  # when the last piece may be sent
        self.text = ""
        self.lags: list[float] = []
        self._begin = 0.0

    async def translate(self) -> None:
        """Sends the talk at real time and waits for its last word."""
        await self.run(self._pieces(), real_time=True)

    @property
    def right(self) -> bool:
        """Whether the words are those of a session of its own."""
        return tuple(self.text.split()) == self.talk.words

    def seen(self) -> Session:
        """The result."""
        p50, p99, worst = np.percentile(self.lags or [np.nan], [50, 99, 100])
        return Session(len(self.text.split()), self.right, self.moves, p50, p99, worst)

    def _pieces(self) -> Iterator[bytes]:
        self._begin = time.monotonic()
        for start in range(0, len(self.talk.data), 2 * PIECE):
            if start + 2 * PIECE >= len(self.talk.data) and self._until is not None:
                self._until.wait()  # in a thread of its own
            yield self.talk.data[start : start + 2 * PIECE]

    def _add(self, event: Mapping[str, Any]) -> None:
        if event["type"] != "session.output_transcript.delta":
            return
        passed = 1000 * (time.monotonic() - self._begin)
        before = len(self.text.split())
        self.text += event["delta"]
        needed = self.talk.needed_ms[before : len(self.text.split())]
        self.lags += [passed - each for each in needed]


class Cluster:
    """The application on a Ray of its own; `deploy` replaces its replicas."""

    def __init__(self, model: Path) -> None:
        self._versions = itertools.count()
        self._model = model
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts Ray with room for old and new replicas at once, and its proxy."""
        import ray
        from ray import serve

        ray.init(
            address="local",  # never a cluster that runs already
            num_cpus=2 * REPLICAS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=100_000_000,
        )
        serve.start(http_options={"host": "127.0.0.1", "port": self.port})
        self.deploy()

    def deploy(self) -> float:
        """Deploys another version; returns after how many seconds all of its replicas serve."""
        from ray import serve

        from echostream.server.ray import application

        began = time.monotonic()
        version = next(self._versions)
        settings = ServerSettings(capacity=CLIENTS // REPLICAS, drain_seconds=5, idle_seconds=600)
        served = ServedModel(model=str(self._model), about=f"{version}", server=settings)
        serve.run(application(served, REPLICAS), name="echostream")
        return time.monotonic() - began

    def kill_replica(self) -> None:
        """Ends the process of a replica with SIGKILL."""
        os.kill(min(_replicas(os.getpid())), signal.SIGKILL)

    def stop(self) -> None:
        """Ends the application and Ray."""
        import ray
        from ray import serve

        if not ray.is_initialized():
            return
        serve.shutdown()
        ray.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def cluster(model: Path) -> Iterator[Cluster]:
    """A cluster that is stopped when the block ends."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(model)
    try:
        made.start()
        yield made
    finally:
        made.stop()


async def run(made: Cluster, talks: Sequence[Talk], short: Sequence[Talk]) -> Restart:
    """Sessions with talks through a restart, then short ones through the loss of a replica."""
    deployed = threading.Event()
    clients = [Client(made.url, talk, deployed) for talk in talks]
    running = [asyncio.create_task(client.translate()) for client in clients]
    await asyncio.sleep(len(talks[0].data) / 2 / SAMPLE_RATE / 3)
    try:
        seconds = await asyncio.to_thread(made.deploy)
    finally:
        deployed.set()
    await asyncio.gather(*running)
    sessions = [client.seen() for client in clients]

    clients = [Client(made.url, talk) for talk in short]
    running = [asyncio.create_task(client.translate()) for client in clients]
    await asyncio.sleep(KILLED_SECONDS)
    made.kill_replica()
    errors = await asyncio.gather(*running, return_exceptions=True)
    lost = sum(isinstance(error, ServerError) for error in errors)
    others = zip(clients, errors, strict=True)
    went_on = sum(client.right for client, error in others if error is None)
    again = [Client(made.url, talk) for talk, error in zip(short, errors, strict=True) if error]
    await asyncio.gather(*(client.translate() for client in again))
    served = bool(again) and all(client.right for client in again)
    return Restart(sessions, seconds, lost, went_on, served)


def _replicas(ancestor: int) -> list[int]:
    """Process numbers of the replicas below a process; Ray names them by their titles."""
    parents, found = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(folder.name)] = int(stat[1])
        if title.startswith(b"ray::ServeReplica:echostream"):
            found.append(int(folder.name))
    return [number for number in found if ancestor in _ancestors(number, parents)]


def _ancestors(number: int, parents: Mapping[int, int]) -> Iterator[int]:
    while number in parents:
        number = parents[number]
        yield number


def table(result: Restart) -> str:
    """The sessions as Markdown."""
    rows = [["client", "words", "right", "moves", "p50", "p99", "worst"]]
    for number, one in enumerate(result.sessions, 1):
        lags = [f"{value:.0f}" for value in (one.p50, one.p99, one.worst)]
        right = "yes" if one.right else "no"
        rows.append([str(number), str(one.words), right, str(one.moves), *lags])
    return markdown_table(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all of it; 1 if a word was lost, repeated or changed, or a client not served again."""
    args = _parser().parse_args(argv)
    make_folder(args.output)
    with opened(QUICK if args.quick else FULL) as bench:
        name = "large" if args.quick else "demo"
        made_of = partial(make_talks, bench.demo_folder, "torch", look_ahead=0)
        talks, short = (
            made_of(samples=audio(name, CLIENTS, seconds))
            for seconds in (args.seconds, SHORT_SECONDS)
        )
        with cluster(bench.demo_folder) as made:
            result = asyncio.run(run(made, talks, short))
    content = {"machine": machine(), **asdict(result)}
    write_whole(args.output / "ray-restart.json", json_text(content))
    write_whole(args.output / "ray-restart.md", table(result) + "\n")
    print(table(result))
    print(f"deployed in {result.deploy_seconds:.0f} s")
    print(
        f"a replica killed: {result.lost} clients got an error, {result.went_on} went on; new "
        f"sessions served: {'yes' if result.again else 'no'}"
    )
    is_right = all(one.right and one.moves for one in result.sessions)
    return 0 if is_right and result.lost + result.went_on == CLIENTS and result.again else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("out/ray-restart"), help="folder for the table")
    add("--seconds", type=float, default=120, help="of audio of each client")
    add("--quick", action="store_true", help="a tiny model, to test the code")
    return parser


if __name__ == "__main__":
    sys.exit(main())
