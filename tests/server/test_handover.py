"""A session goes on at the next server: no word is lost, repeated or changed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets
from live_server import CLIENT_RATE, append, as_samples, expected, pcm, serve_command
from restarted import Servers
from servers import environment, free_port, running
from tiny_model import SAMPLE_RATE, babble, make_model_folder
from tiny_speech import make_speaking_folder

from echostream.frontend.resample import resample
from echostream.model_folder import load_model
from echostream.server.client import RealtimeClient
from echostream.server.events import as_pcm16
from echostream.server.handover import FolderStore
from echostream.server.service import Room, Service
from echostream.server.settings import ServerSettings
from echostream.session.translator import StreamingTranslator
from echostream.session_config import SessionConfig

NAME = "sess_" + "a" * 22


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model") / "fr-en-tiny", decoder_layers=1)


class Words:
    """What a client shows."""

    def __init__(self) -> None:
        self.source = self.target = ""
        self.elapsed: list[int] = []

    def show(self, event: Any) -> None:
        if event["type"].startswith("session.input"):
            self.source += event["delta"]
        else:
            self.target += event["delta"]
        self.elapsed.append(event["elapsed_ms"])


@pytest.mark.parametrize("method", ["ctc", "decoder"])
def test_a_client_sees_no_restart(model: Path, tmp_path: Path, method: str) -> None:
    rate = 44_100
    data = pcm(babble(7.0, seed=5, sample_rate=rate))
    size = rate // 10 * 2
    words = Words()
    with Servers(model, tmp_path) as servers:

        def pieces() -> Any:
            for number, start in enumerate(range(0, len(data), size)):
                if number in (20, 45):
                    servers.restart()
                yield data[start : start + size]

        options = {"sample_rate": rate, "speech": False, "decoding_method": method}
        url = f"ws://localhost:{servers.port}"
        client = RealtimeClient(url, None, options, words.show, pytest.fail)
        asyncio.run(client.run(pieces(), real_time=False))
    lagging = {"lagging_k1": 1} if method == "decoder" else {}
    wanted = expected(model, data, rate, decoding_method=method, **lagging)
    assert (words.source, words.target) == wanted and words.target
    assert words.elapsed == sorted(words.elapsed)
    assert list((tmp_path / "handover").iterdir()) == []  # each was taken once
    log = (tmp_path / "serve.log").read_text()
    assert log.count('"reason": "moved"') == 2


def test_speech_goes_on_to_the_bit(tmp_path: Path) -> None:
    model = make_speaking_folder(tmp_path / "fr-en-tiny")
    data = pcm(babble(6.3, seed=1, sample_rate=CLIENT_RATE))

    async def use(servers: Servers) -> bytes:
        speech, resume, sent = b"", "", 0
        for last in (False, True):
            address = f"ws://localhost:{servers.port}/v1/realtime/translations{resume}"
            async with websockets.connect(address) as link:
                first = json.loads(await link.recv())["session"]
                if last:
                    sent = 2 * first["received_samples"]
                else:
                    about = {"echostream": {"resume": True}}
                    await link.send(json.dumps({"type": "session.update", "session": about}))
                end = len(data) if last else len(data) // 2
                kind = "session.input_audio_buffer.append"
                for start in range(sent, end, 9600):
                    audio = append(data[start : min(end, start + 9600)])
                    await link.send(json.dumps({"type": kind, "audio": audio}))
                stopping = None
                if last:
                    await link.send(json.dumps({"type": "session.close"}))
                else:
                    await asyncio.sleep(0.5)
                    stopping = asyncio.create_task(asyncio.to_thread(servers.restart))
                async for text in link:
                    event = json.loads(text)
                    assert event["type"] != "error", event
                    if event["type"] == "session.output_audio.delta":
                        speech += base64.b64decode(event["delta"])
                    elif event["type"] == "session.moved":
                        resume = f"?resume={event['id']}"
                        break
                    elif event["type"] == "session.closed":
                        break
            if stopping is not None:
                await stopping
        return speech

    with Servers(model, tmp_path) as servers:
        speech = asyncio.run(use(servers))
    session = StreamingTranslator(load_model(model), speech=True)
    outputs = [*session.push(as_samples(data), CLIENT_RATE), *session.finish()]
    samples = np.concatenate([output.samples for output in outputs])
    assert speech == as_pcm16(resample(samples, SAMPLE_RATE, CLIENT_RATE)) and speech


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_session_that_cannot_move_gets_its_last_words(
    model: Path, tmp_path: Path, comes_back: bool
) -> None:
    """Its client does not come back; or it does, and the folder has gone."""
    data = pcm(babble(4.0, seed=2, sample_rate=CLIENT_RATE))

    async def use(port: int, pid: int) -> tuple[str, list[str]]:
        address = f"ws://localhost:{port}/v1/realtime/translations"
        async with websockets.connect(address) as link:
            await link.recv()
            about = {"echostream": {"resume": comes_back}}
            await link.send(json.dumps({"type": "session.update", "session": about}))
            message = {"type": "session.input_audio_buffer.append", "audio": append(data)}
            await link.send(json.dumps(message))
            await asyncio.sleep(0.5)
            if comes_back:
                (tmp_path / "handover").rmdir()
            os.kill(pid, signal.SIGTERM)
            text, kinds = "", []
            async for received in link:
                event = json.loads(received)
                kinds.append(event["type"])
                if event["type"] == "session.output_transcript.delta":
                    text += event["delta"]
        return text, kinds

    port = free_port()
    flags = ("--handover", str(tmp_path / "handover"), "--drain-seconds", "1")
    command = serve_command(model, port, *flags)
    with running(command, port, tmp_path / "log") as server:
        text, kinds = asyncio.run(use(port, server.pid))
        server.wait(timeout=30)
    assert text == expected(model, data, CLIENT_RATE)[1]
    assert "session.moved" not in kinds and kinds[-1] == "session.closed"
    assert ("session cannot move" in (tmp_path / "log").read_text()) == comes_back


@pytest.mark.parametrize("name", [NAME, "sess_../../etc/passwd", "", "sess_" + "b" * 500])
def test_a_session_that_is_not_there_is_refused(model: Path, tmp_path: Path, name: str) -> None:
    async def use(port: int) -> Any:
        address = f"ws://localhost:{port}/v1/realtime/translations?resume={name}"
        async with websockets.connect(address) as link:
            return json.loads(await link.recv())

    with Servers(model, tmp_path, "--capacity", "1") as servers:
        file = tmp_path / "handover" / f"{NAME}.session"
        file.write_bytes(b"no session")
        for _ in range(2):  # the place is given back
            event = asyncio.run(use(servers.port))
            assert event["type"] == "error"
            assert event["error"]["code"] == "session_not_found"
        assert file.read_bytes() == b"no session"  # it may be another server's


def test_a_folder_gives_each_session_once(tmp_path: Path) -> None:
    async def use() -> None:
        stores = [FolderStore(tmp_path / "a") for _ in range(2)]
        await stores[0].put(NAME, b"data")
        found = await asyncio.gather(*(store.take(NAME) for store in stores * 3))
        assert sorted(found, key=bool)[-2:] == [None, b"data"]
        for wrong in ("../a", "", "sess_", "sess_" + "/" * 22):
            assert await stores[0].take(wrong) is None

    asyncio.run(use())


def test_sessions_that_nobody_came_for_are_deleted(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    old = tmp_path / f"{NAME}.session"
    old.write_bytes(b"old")
    os.utime(old, (time.time() - 3600,) * 2)
    asyncio.run(store.put("sess_" + "b" * 22, b"new"))
    assert [path.name for path in tmp_path.iterdir()] == ["sess_" + "b" * 22 + ".session"]


def test_a_session_that_has_waited_too_long_is_gone(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    asyncio.run(store.put(NAME, b"data"))
    os.utime(tmp_path / f"{NAME}.session", (time.time() - 301,) * 2)
    assert asyncio.run(store.take(NAME)) is None
    assert list(tmp_path.iterdir()) == []


def test_files_of_servers_that_were_killed_are_deleted(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for name in (f"{NAME}.17.taken", f".tmp-17-{NAME}.session", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (time.time() - 3600,) * 2)
    asyncio.run(store.put("sess_" + "b" * 22, b"new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "notes.txt",
        "sess_" + "b" * 22 + ".session",
    ]


def test_a_folder_that_cannot_be_made_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [*serve_command(model, 0), "--handover", str(tmp_path / "file")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and str(tmp_path / "file") in done.stderr


def test_an_error_of_one_session_is_logged_and_the_others_move(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved = []

    async def finish() -> None: ...

    async def fail() -> None:
        raise ValueError("no state")

    async def move() -> None:
        moved.append(True)

    async def use() -> None:
        service = Service(load_model(model), "tiny", SessionConfig(), ServerSettings())
        service.rooms = {"a": Room("a", finish, move=fail), "b": Room("b", finish, move=move)}
        await service.move_all()

    asyncio.run(use())
    assert moved == [True] and "no state" in caplog.text
