"""simulstream's unmodified client, keys, and the end of a server under load."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
import soxr
import websockets
from documents import ROOT
from live_server import (
    CLIENT_RATE,
    append,
    connection,
    expected,
    live_server,
    pcm,
    serve_command,
)
from openai import AuthenticationError
from servers import free_port, running
from simulstream.client.wav_reader_client import stream_wav_files
from tiny_model import babble, make_model_folder

RATE = 48_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model") / "fr-en-tiny")


def test_a_client_of_simulstream_is_served(model: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{seed}.wav" for seed in range(2)]
    for seed, file in enumerate(files):
        soundfile.write(file, babble(2.5, seed, RATE), RATE, subtype="PCM_16")
    with live_server(model, tmp_path) as port:
        names = [str(file) for file in files]
        url = f"ws://localhost:{port}/"
        asyncio.run(stream_wav_files(url, names, tgt_lang="en", src_lang="fr"))
    ended = [json.loads(line) for line in (tmp_path / "serve.log").read_text().splitlines()]
    assert [line["message"] for line in ended].count("session ended") == 2


def test_captions_of_simulstream_are_the_words_of_a_session(model: Path, tmp_path: Path) -> None:
    data = pcm(babble(5.1, 3, RATE))

    async def translate(port: int) -> str:
        text = ""
        async with websockets.connect(f"ws://localhost:{port}/simulstream") as link:
            await link.send(json.dumps({"sample_rate": RATE}))
            for start in range(0, len(data), 9_600):
                await link.send(data[start : start + 9_600])
            await link.send(json.dumps({"end_of_stream": True}))
            async for message in link:
                answer = json.loads(message)
                if "end_of_processing" in answer:
                    return text
                assert answer["deleted"] == ""
                text += answer["new"]
        return text

    with live_server(model, tmp_path) as port:
        assert asyncio.run(translate(port)) == expected(model, data, RATE)[1] != ""


def test_only_clients_with_the_key_are_served(model: Path, tmp_path: Path) -> None:
    async def connect(port: int, key: str) -> str:
        async with connection(port, model, key) as link:
            return str((await link.recv()).type)

    async def browser(port: int, key: str) -> str:
        url = f"ws://localhost:{port}/v1/realtime/translations"
        protocols = ["realtime", f"openai-insecure-api-key.{key}"]
        async with websockets.connect(url, subprotocols=protocols) as link:
            return str(json.loads(await link.recv())["type"])

    with live_server(model, tmp_path, "--api-key", "s3cret") as port:
        assert asyncio.run(connect(port, "s3cret")) == "session.created"
        assert asyncio.run(browser(port, "s3cret")) == "session.created"
        with pytest.raises((websockets.InvalidStatus, AuthenticationError)):
            asyncio.run(connect(port, "wrong"))
        with pytest.raises(websockets.InvalidStatus, match="401"):
            asyncio.run(browser(port, "wrong"))


def test_a_terminated_server_finishes_its_sessions_and_admits_no_more(
    model: Path, tmp_path: Path
) -> None:
    data = pcm(babble(4, 5, CLIENT_RATE))
    port = free_port()
    command = serve_command(model, port, "--drain-seconds", "2")

    async def drain() -> tuple[str, list[str]]:
        text, seen = "", []
        async with connection(port, model) as link:
            await link.recv()
            await link.session.input_audio_buffer.append(audio=append(data))
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.5)
            async with connection(port, model) as late:
                seen.append((await late.recv()).error.code)
            async for event in link:
                if event.type == "session.output_transcript.delta":
                    text += event.delta
                elif event.type == "error":
                    seen.append(event.error.code)
        return text, seen

    with running(command, port, tmp_path / "serve.log") as process:
        text, seen = asyncio.run(drain())
        begin = time.monotonic()
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - begin < 10
    assert text == expected(model, data, CLIENT_RATE)[1]
    assert seen == ["server_draining", "server_draining"]


def test_a_killed_client_gives_its_place_back_within_a_second(model: Path, tmp_path: Path) -> None:
    script = (
        "import asyncio, websockets\n"
        "async def main():\n"
        "    async with websockets.connect('ws://localhost:PORT/simulstream') as link:\n"
        "        while True:\n"
        "            await link.send(bytes(6400))\n"
        "            print('sent', flush=True)\n"
        "            await asyncio.sleep(0.05)\n"
        "asyncio.run(main())\n"
    )

    async def kill(port: int) -> float:
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script.replace("PORT", str(port)), stdout=-1
        )
        assert client.stdout is not None
        await client.stdout.readline()
        client.kill()
        begin = time.monotonic()
        await client.communicate()
        while True:
            async with connection(port, model) as link:
                if (await link.recv()).type == "session.created":
                    return time.monotonic() - begin

    with live_server(model, tmp_path, "--capacity", "1") as port:
        assert asyncio.run(kill(port)) < 1


def test_the_example_of_the_docs_prints_the_translation(model: Path, tmp_path: Path) -> None:
    samples = babble(4, 7)
    soundfile.write(tmp_path / "one.wav", samples, 16_000, subtype="FLOAT")
    data = (soxr.resample(samples, 16_000, CLIENT_RATE) * 32767).astype("<i2").tobytes()
    with live_server(model, tmp_path) as port:
        words = [sys.executable, str(ROOT / "examples" / "realtime_client.py")]
        words += [f"http://localhost:{port}/v1", model.name, str(tmp_path / "one.wav")]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected(model, data, CLIENT_RATE)[1] != ""
