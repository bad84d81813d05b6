"""Clients that break the rules cost no place, no descriptor and no words of another client."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_server import CLIENT_RATE, append, expected, live_server, pcm, serve_command, translate
from servers import free_port, running
from tiny_model import babble, make_model_folder

DATA = pcm(babble(4.2, seed=11, sample_rate=CLIENT_RATE))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model") / "fr-en-tiny")


@dataclass(frozen=True)
class Server:
    """A running server, as the kernel sees it."""

    port: int
    pid: int

    @property
    def num_descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    @property
    def memory_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port, log = free_port(), tmp_path_factory.mktemp("server") / "serve.log"
    with running(serve_command(model, port, "--capacity", "40"), port, log) as process:
        yield Server(port, process.pid)


@pytest.fixture
def port(server: Server) -> int:
    return server.port


def address(port: int) -> str:
    return f"ws://localhost:{port}/v1/realtime/translations"


def test_a_thousand_connections_leave_no_descriptor_and_no_place(
    server: Server, model: Path
) -> None:
    port = server.port

    async def connect(number: int) -> None:
        async with websockets.connect(address(port)) as link:
            if json.loads(await link.recv())["type"] == "error":  # those before are still closing
                await asyncio.sleep(0.1)
                return await connect(number)
            if number % 2:
                audio = {"type": "session.input_audio_buffer.append", "audio": append(DATA[:9600])}
                await link.send(json.dumps(audio))
            if number % 3 == 0:
                link.transport.abort()
        return None

    async def connect_all() -> None:
        for start in range(0, 1000, 20):
            await asyncio.gather(*(connect(start + n) for n in range(20)))
        await asyncio.sleep(1)

    asyncio.run(translate(port, model, DATA))
    before = server.num_descriptors
    asyncio.run(connect_all())
    assert server.num_descriptors <= before
    got = asyncio.run(translate(port, model, DATA))
    assert got.target == expected(model, DATA, CLIENT_RATE)[1]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20),  # halves of pairs included
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
MESSAGES = st.one_of(
    st.text(max_size=50),
    st.binary(max_size=50),
    JSON.map(json.dumps),
    st.builds(
        lambda kind, key, value: json.dumps({"type": kind, key: value}),
        st.sampled_from(["session.update", "session.input_audio_buffer.append", "echostream.ping"]),
        st.sampled_from(["session", "audio", "id", "event_id"]),
        JSON,
    ),
    st.builds(
        lambda part, key, value: json.dumps(
            {"type": "session.update", "session": {part: {key: value}}}
        ),
        st.sampled_from(["audio", "echostream"]),
        st.sampled_from(["input", "output", "sample_rate", "max_future_frames", "speech"]),
        JSON,
    ),
)


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(message=MESSAGES)
def test_no_message_ends_a_session(port: int, message: str | bytes) -> None:
    async def send() -> list[str]:
        async with websockets.connect(address(port)) as link:
            await link.send(message)
            await link.send(json.dumps({"type": "session.close"}))
            return [json.loads(answer)["type"] async for answer in link]

    kinds = asyncio.run(send())
    assert kinds[0] == "session.created" and kinds[-1] == "session.closed"


def test_a_client_that_floods_and_never_reads_does_not_hold_up_another(
    server: Server, model: Path
) -> None:
    port = server.port

    async def flood() -> str:
        async with websockets.connect(address(port), max_queue=1) as link:
            flooding = asyncio.create_task(_flood(link))
            await asyncio.sleep(0.5)
            got = await translate(port, model, DATA)
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)
            link.transport.abort()
        return got.target

    async def _flood(link: websockets.ClientConnection) -> None:
        unknown = json.dumps({"type": "x" * 60})
        audio = json.dumps({"type": "session.input_audio_buffer.append", "audio": append(DATA)})
        while True:
            await link.send(unknown)
            await link.send(audio)

    before = server.memory_bytes
    assert asyncio.run(flood()) == expected(model, DATA, CLIENT_RATE)[1]
    assert server.memory_bytes - before < 100e6


def test_a_message_that_is_too_long_ends_its_connection_alone(port: int, model: Path) -> None:
    async def send() -> int:
        async with websockets.connect(address(port)) as link:
            await link.send("x" * (1 << 21))
            with pytest.raises(websockets.ConnectionClosedError):
                while True:
                    await link.recv()
            assert link.close_code is not None
            return link.close_code

    assert asyncio.run(send()) == 1009
    got = asyncio.run(translate(port, model, DATA))
    assert got.target == expected(model, DATA, CLIENT_RATE)[1]


def test_a_connection_that_never_becomes_a_websocket_takes_no_place(port: int, model: Path) -> None:
    idle = [socket.create_connection(("localhost", port)) for _ in range(50)]
    try:
        got = asyncio.run(translate(port, model, DATA))
    finally:
        for one in idle:
            one.close()
    assert got.target == expected(model, DATA, CLIENT_RATE)[1]


def test_a_session_without_messages_is_finished_and_closed(model: Path, tmp_path: Path) -> None:
    async def idle(port: int) -> list[str]:
        async with websockets.connect(address(port)) as link:
            audio = {"type": "session.input_audio_buffer.append", "audio": append(DATA)}
            await link.send(json.dumps(audio))
            events = [json.loads(message) async for message in link]
        words = [e["delta"] for e in events if e["type"] == "session.output_transcript.delta"]
        codes = [e["error"]["code"] for e in events if e["type"] == "error"]
        return ["".join(words), *codes, events[-1]["type"]]

    with live_server(model, tmp_path, "--idle-seconds", "1") as port:
        target = expected(model, DATA, CLIENT_RATE)[1]
        assert asyncio.run(idle(port)) == [target, "session_idle", "session.closed"]


def test_a_half_open_connection_gives_its_place_back(model: Path, tmp_path: Path) -> None:
    """A client whose machine vanishes sends no end, and nothing else."""
    request = "\r\n".join(
        (
            "GET /v1/realtime/translations HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *("", ""),
        )
    )

    async def until_there_is_a_place(port: int) -> str:
        for _ in range(60):
            async with websockets.connect(address(port)) as other:
                kind = str(json.loads(await other.recv())["type"])
                if kind == "session.created":
                    return kind
            await asyncio.sleep(1)
        return "full"

    with (
        live_server(model, tmp_path, "--capacity", "1", "--idle-seconds", "3") as port,
        socket.create_connection(("localhost", port)) as link,
    ):
        link.sendall(request.encode())
        assert b"101" in link.recv(64)  # and nothing is read or answered from here on
        assert asyncio.run(until_there_is_a_place(port)) == "session.created"
    log = (tmp_path / "serve.log").read_text()
    assert '"reason": "idle"' in log or '"reason": "slow"' in log
