"""Viewers of a session get all of its words, whenever they come and wherever it goes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import websockets
from in_process import MemoryStore, connected, serving
from live_server import CLIENT_RATE, expected, pcm
from tiny_model import babble, make_model_folder

from echostream.model_folder import load_model
from echostream.server import service as service_module

DATA = pcm(babble(3.0, seed=2, sample_rate=CLIENT_RATE))
HALF = len(DATA) // 4 * 2  # bytes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model") / "fr-en-tiny")


async def watch(url: str, name: str) -> tuple[str, str, int | None]:
    """The translation that a viewer gets, the last event or error, and the close code."""
    async with websockets.connect(f"{url}/v1/realtime/watch?id={name}") as link:
        events = []
        try:
            async for message in link:
                events.append(json.loads(message))
        except websockets.ConnectionClosedError:  # 1012 of one that moves
            pass
        deltas = [e["delta"] for e in events if e["type"] == "session.output_transcript.delta"]
        last = events[-1].get("error", {}).get("code", events[-1]["type"])
        return "".join(deltas), last, link.close_code


def test_a_viewer_who_comes_later_gets_all_words_also_for_a_while_after_the_end(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "KEEP_ENDED_SECONDS", 1.0)

    async def use() -> list[tuple[str, str, int | None]]:
        async with serving(load_model(model)) as (_, url):
            async with connected(url, speech=False) as connection:
                name = connection.first["session"]["id"]
                await connection.audio(DATA[:HALF])
                early = asyncio.create_task(watch(url, name))
                await asyncio.sleep(0.3)
                await connection.audio(DATA[HALF:])
                middle = asyncio.create_task(watch(url, name))
                await asyncio.sleep(0.3)
                await connection.send("session.close")
                await connection.rest()
            found = [await early, await middle, await watch(url, name)]
            await asyncio.sleep(1.2)
            return [*found, await watch(url, name)]

    *found, forgotten = asyncio.run(use())
    text = expected(model, DATA, CLIENT_RATE)[1]
    assert text and found == 3 * [(text, "session.closed", 1000)]
    assert forgotten == ("", "session_not_found", 1000)


def test_a_viewer_of_a_session_that_moves_is_told_so_and_gets_the_other_words_later(
    model: Path,
) -> None:
    async def use() -> list[tuple[str, str, int | None]]:
        store = MemoryStore()
        async with serving(load_model(model), store) as (service, url):
            async with connected(url, resume=True, speech=False) as connection:
                name = connection.first["session"]["id"]
                await connection.audio(DATA[:HALF])
                watching = asyncio.create_task(watch(url, name))
                await asyncio.sleep(0.3)
                await service.move_all()
                await connection.rest()
                found = [await watching, await watch(url, name)]
            async with connected(url, f"?resume={name}") as connection:
                received = connection.first["session"]["received_samples"]
                await connection.audio(DATA[2 * received :])
                await connection.send("session.close")
                await connection.rest()
            return [*found, await watch(url, name)]

    before, between, after = asyncio.run(use())
    assert before[1:] == ("session.moved", 1012)
    assert between == ("", "session_not_found", 1000)
    assert after[1:] == ("session.closed", 1000)
    assert before[0] and before[0] + after[0] == expected(model, DATA, CLIENT_RATE)[1]
