"""A session that moves while other things happen: no word is lost, and no place is held."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from in_process import Connection, MemoryStore, connected, serving
from live_server import CLIENT_RATE, expected, pcm
from tiny_model import babble, make_model_folder

from echostream.model_folder import load_model
from echostream.server.client import RealtimeClient
from echostream.server.realtime import RealtimeSession

DATA = pcm(babble(4.0, seed=2, sample_rate=CLIENT_RATE))
PIECE = CLIENT_RATE // 10 * 2  # bytes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model") / "fr-en-tiny")


def words(model: Path, data: bytes = DATA) -> str:
    return expected(model, data, CLIENT_RATE)[1]


async def send_pieces(connection: Connection, data: bytes, seconds: float = 0.02) -> None:
    """Sends as long as the server listens."""
    with contextlib.suppress(websockets.ConnectionClosed):
        for start in range(0, len(data), PIECE):
            await connection.audio(data[start : start + PIECE])
            await asyncio.sleep(seconds)


async def go_on(url: str, name: str, last: bytes = DATA) -> str:
    """The words of a session after it has moved, to its end."""
    async with connected(url, f"?resume={name}") as connection:
        received = connection.first["session"].get("received_samples", 0)
        await send_pieces(connection, last[2 * received :], 0.0)
        await connection.send("session.close")
        assert (await connection.rest())[-1] == "session.closed"
        return connection.text


@pytest.mark.parametrize("error", [None, OSError("no space left"), ValueError("no session")])
@pytest.mark.parametrize("step_seconds", [0.0, 0.05])
def test_words_are_those_of_a_session_that_is_left_alone(
    model: Path, error: Exception | None, step_seconds: float
) -> None:
    async def use() -> str:
        store = MemoryStore(0.3, error)
        async with (
            serving(load_model(model), store, step_seconds) as (service, url),
            connected(url, resume=True, speech=False) as connection,
        ):
            reading = asyncio.create_task(connection.rest())
            sending = asyncio.create_task(send_pieces(connection, DATA))
            await asyncio.sleep(0.3)
            await service.move_all()
            if error is None:
                await asyncio.gather(reading, sending)
                return connection.text + await go_on(url, next(iter(store.kept)))
            await sending
            await connection.send("session.close")
            assert (await reading)[-1] == "session.closed"
            return connection.text

    assert asyncio.run(use()) == words(model)


@pytest.mark.parametrize("with_audio", [True, False])
def test_a_session_that_is_closed_while_it_moves_is_closed_at_the_next_server(
    model: Path, with_audio: bool
) -> None:
    data = DATA if with_audio else b""

    async def use() -> str:
        store = MemoryStore(0.3)
        async with serving(load_model(model), store) as (service, url):
            async with connected(url, resume=True, speech=False) as connection:
                await send_pieces(connection, data)
                moving = asyncio.create_task(service.move_all())
                await asyncio.sleep(0.1)
                await connection.send("session.close")
                assert (await connection.rest())[-1] == "session.moved"
                assert connection.link.close_code == 1012
                await moving
            return connection.text + await go_on(url, next(iter(store.kept)), data)

    assert asyncio.run(use()) == (words(model, data) if with_audio else "")


def test_a_drain_that_is_cancelled_leaves_no_session_half_way(model: Path) -> None:
    async def use() -> str:
        store = MemoryStore(0.4)
        async with serving(load_model(model), store) as (service, url):
            async with connected(url, resume=True, speech=False) as connection:
                await send_pieces(connection, DATA[: len(DATA) // 2])
                drain = asyncio.create_task(service.drain(5))
                await asyncio.sleep(0.2)
                drain.cancel()
                assert (await connection.rest())[-1] == "session.moved"
            return connection.text + await go_on(url, next(iter(store.kept)))

    assert asyncio.run(use()) == words(model)


@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_a_server_that_stops_while_it_takes_a_session_up_loses_no_word(
    model: Path, seconds: float
) -> None:
    async def use() -> str:
        store = MemoryStore()
        async with (
            serving(load_model(model), store) as (service, url),
            connected(url, resume=True, speech=False) as before,
        ):
            await send_pieces(before, DATA)
            await service.move_all()
            await before.rest()
        name, store.delay = next(iter(store.kept)), 0.4
        async with serving(load_model(model), store) as (service, url):
            opening = asyncio.create_task(
                websockets.connect(f"{url}/v1/realtime/translations?resume={name}").__aenter__()
            )
            await asyncio.sleep(0.2)
            service.draining = True
            draining = asyncio.create_task(service.drain(seconds))
            link = await opening
            now = Connection(link, json.loads(await link.recv()))
            kinds = await now.rest()
            await draining
        assert seconds == 0 or kinds[-1] == "session.moved"  # it has time for that
        if kinds[-1] == "session.closed":
            return before.text + now.text
        store.delay = 0
        async with serving(load_model(model), store) as (_, url):
            return before.text + now.text + await go_on(url, name)

    assert asyncio.run(use()) == words(model)


def test_a_client_that_asks_to_come_back_after_the_signal_can(model: Path) -> None:
    async def use() -> list[str]:
        store = MemoryStore()
        async with (
            serving(load_model(model), store) as (service, url),
            connected(url) as connection,
        ):
            service.draining = True
            draining = asyncio.create_task(service.drain(5))
            await asyncio.sleep(0.05)
            await connection.send("session.update", session={"echostream": {"resume": True}})
            kinds = await connection.rest()
            await draining
            assert len(store.kept) == 1
            return kinds

    assert asyncio.run(use())[-1] == "session.moved"


def test_a_client_that_is_back_before_its_session_has_left_is_told_to_try_again(
    model: Path,
) -> None:
    async def use() -> tuple[str, str]:
        async with (
            serving(load_model(model), MemoryStore()) as (service, url),
            connected(url, resume=True) as connection,
        ):
            name = connection.first["session"]["id"]
            codes = []
            for moved in (False, True):
                service.rooms[name].moved = moved
                async with connected(url, f"?resume={name}") as again:
                    codes.append(again.first["error"]["code"])
            service.rooms[name].moved = False
            return codes[0], codes[1]

    assert asyncio.run(use()) == ("session_not_found", "try_again")


def test_a_client_that_leaves_while_its_session_is_taken_up_holds_no_place(model: Path) -> None:
    name = "sess_" + "a" * 22

    class Leaving:
        def __init__(self) -> None:
            self.query_params = {"resume": name}
            self.scope: dict[str, Any] = {"subprotocols": []}
            self.headers: dict[str, str] = {}

        async def accept(self, subprotocol: str | None = None) -> None: ...

        async def send_text(self, text: str) -> None: ...

    async def use() -> tuple[int, dict[str, bytes]]:
        store = MemoryStore(0.2)
        store.kept[name] = b"a session"
        async with serving(load_model(model), store) as (service, _):
            session = RealtimeSession(service, Leaving())  # type: ignore[arg-type]
            running = asyncio.create_task(session.run())
            await asyncio.sleep(0.1)
            assert name in service.rooms
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            return len(service.rooms), store.kept

    assert asyncio.run(use()) == (0, {name: b"a session"})


def test_a_client_that_leaves_while_its_stream_begins_holds_no_row(model: Path) -> None:
    async def use() -> int:
        async with serving(load_model(model)) as (service, _):
            engine = service.engine
            engine._calls.put(lambda: time.sleep(0.3))  # the thread is at work
            joining = asyncio.create_task(engine.join(service.config, lambda step: None))
            await asyncio.sleep(0.05)
            joining.cancel()
            await asyncio.gather(joining, return_exceptions=True)
            await engine.prepare(service.config)  # after all calls before it
            return len(engine._seats)

    assert asyncio.run(use()) == 0


def test_a_source_that_is_ended_by_the_server_gives_its_last_words_to_listen(model: Path) -> None:
    text, warnings = [], []

    async def use() -> None:
        async with serving(load_model(model), drain_seconds=0.2) as (service, url):
            begun = asyncio.Event()

            def pieces() -> Iterator[bytes]:
                for start in range(0, len(DATA) * 4, PIECE):
                    if start > len(DATA):
                        loop.call_soon_threadsafe(begun.set)
                    yield (DATA * 4)[start : start + PIECE]
                    time.sleep(0.01)

            loop = asyncio.get_running_loop()
            client = RealtimeClient(
                url,
                None,
                {"sample_rate": CLIENT_RATE, "speech": False},
                text.append,
                warnings.append,
            )
            client._options["resume"] = False
            running = asyncio.create_task(client.run(pieces(), real_time=True))
            await begun.wait()
            await service.drain(0.0)
            await running  # raises if the server found anything wrong

    asyncio.run(use())
    assert len(warnings) == 1 and text


def test_a_recording_that_is_sent_fast_survives_moves(model: Path) -> None:
    data = DATA * 25  # 100 s, more than is kept to send again
    text: list[str] = []

    async def use() -> int:
        store = MemoryStore()
        async with serving(load_model(model), store, 0.005) as (service, url):

            def show(event: Any) -> None:
                if event["type"] == "session.output_transcript.delta":
                    text.append(event["delta"])

            options = {"sample_rate": CLIENT_RATE, "speech": False}
            client = RealtimeClient(url, None, options, show, pytest.fail)
            source = (data[start : start + PIECE] for start in range(0, len(data), PIECE))
            running = asyncio.create_task(client.run(source, real_time=False))
            for _ in range(5):
                await asyncio.sleep(0.4)
                await service.move_all()
            await running
            return client.moves

    assert asyncio.run(use()) >= 3
    assert "".join(text) == words(model, data)


def test_simulstream_gets_the_last_words_of_what_it_sent_before_a_stop(model: Path) -> None:
    async def use() -> tuple[str, list[bool], int | None]:
        text, ends = "", []
        async with (
            serving(load_model(model), step_seconds=0.02) as (service, url),
            websockets.connect(url) as link,
        ):
            await link.send(json.dumps({"sample_rate": CLIENT_RATE}))

            async def send() -> None:
                with contextlib.suppress(websockets.ConnectionClosed):
                    for start in range(0, len(DATA), PIECE):
                        await link.send(DATA[start : start + PIECE])
                        await asyncio.sleep(0.03)

            sending = asyncio.create_task(send())
            await asyncio.sleep(0.5)
            service.draining = True
            draining = asyncio.create_task(service.drain(0.0))
            async for message in link:
                event = json.loads(message)
                text += event.get("new", "")
                ends += [True] if "end_of_processing" in event else []
            await asyncio.gather(sending, draining)
            return text, ends, link.close_code

    text, ends, code = asyncio.run(use())
    assert (ends, code) == ([True], 1001)
    assert any(text == words(model, DATA[:end]) for end in range(PIECE, len(DATA) + 1, PIECE))
