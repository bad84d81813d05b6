"""The stock SDK of the realtime-translation protocol is a client; the words are a session's own."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import websockets
from live_server import (
    CLIENT_RATE,
    append,
    as_samples,
    connection,
    expected,
    live_server,
    pcm,
    translate,
)
from tiny_model import babble, make_model_folder
from tiny_speech import make_speaking_folder

from echostream.frontend.resample import resample
from echostream.model_folder import load_model
from echostream.server.events import base64_pcm16
from echostream.session.translator import StreamingTranslator

DATA = pcm(babble(6.3, seed=1, sample_rate=CLIENT_RATE))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model") / "fr-en-tiny", decoder_layers=1)


@pytest.fixture(scope="module")
def port(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with live_server(model, tmp_path_factory.mktemp("server"), "--capacity", "3") as port:
        yield port


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://localhost:{port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("piece", [2, 320, 9600, len(DATA)])
def test_words_are_those_of_a_session_of_its_own(port: int, model: Path, piece: int) -> None:
    data = DATA if piece > 2 else DATA[:2000]  # a message for each sample
    got = asyncio.run(translate(port, model, data, piece=piece))
    assert (got.source, got.target) == expected(model, data, CLIENT_RATE)
    assert len(got.target) > 20 or piece == 2
    assert got.kinds[0] == "session.created" and got.kinds[-1] == "session.closed"
    assert got.elapsed == sorted(got.elapsed) and got.errors == []


def test_a_session_chooses_look_ahead_and_decoding_method(port: int, model: Path) -> None:
    chosen = {"max_future_frames": 1, "decoding_method": "decoder"}
    got = asyncio.run(translate(port, model, DATA, [{"echostream": chosen}]))
    options = {**chosen, "lagging_k1": 1}
    assert (got.source, got.target) == expected(model, DATA, CLIENT_RATE, **options)


def test_speech_is_that_of_a_session_of_its_own(tmp_path: Path) -> None:
    model = make_speaking_folder(tmp_path / "fr-en-tiny")
    session = StreamingTranslator(load_model(model), speech=True)
    outputs = [*session.push(as_samples(DATA), CLIENT_RATE), *session.finish()]
    speech = np.concatenate([output.samples for output in outputs])
    with live_server(model, tmp_path) as port:
        got = asyncio.run(translate(port, model, DATA))
        silent = asyncio.run(translate(port, model, DATA, [{"echostream": {"speech": False}}]))
    wanted = base64.b64decode(base64_pcm16(resample(speech, 16_000, CLIENT_RATE)))
    assert got.speech == wanted != b""
    assert silent.speech == b"" and silent.target == got.target


def test_sessions_at_once_do_not_mix(port: int, model: Path) -> None:
    recordings = [pcm(babble(3 + seed, seed, CLIENT_RATE)) for seed in range(3)]

    async def all_at_once() -> list[str]:
        found = await asyncio.gather(*(translate(port, model, data) for data in recordings))
        return [got.target for got in found]

    assert asyncio.run(all_at_once()) == [expected(model, d, CLIENT_RATE)[1] for d in recordings]


def test_a_full_server_refuses_and_later_admits_again(port: int, model: Path) -> None:
    async def fill() -> tuple[str, int]:
        async with connection(port, model), connection(port, model), connection(port, model) as one:
            await one.recv()
            status = (await asyncio.to_thread(get, port, "/readyz"))[0]
            async with connection(port, model) as refused:
                event = await refused.recv()
                return event.error.code, status

    assert asyncio.run(fill()) == ("server_full", 503)
    got = asyncio.run(translate(port, model, DATA))
    assert got.errors == [] and get(port, "/readyz") == (200, "ok")


WRONG = [
    ("not json", "invalid_json"),
    ("[]", "invalid_message"),
    ('{"type": 3}', "invalid_message"),
    ('{"type": "session.dance"}', "unknown_type"),
    ('{"type": "session.input_audio_buffer.append"}', "invalid_audio"),
    ('{"type": "session.input_audio_buffer.append", "audio": "?"}', "invalid_audio"),
    ('{"type": "session.input_audio_buffer.append", "audio": "AAAA"}', "invalid_audio"),
    ('{"type": "session.update", "session": 7}', "invalid_value"),
    (
        '{"type": "session.update", "session": {"audio": {"output": {"language": "xx"}}}}',
        "unsupported_language",
    ),
    (
        '{"type": "session.update", "session": {"audio": {"input": {"noise_reduction": {}}}}}',
        "unsupported_value",
    ),
    (
        '{"type": "session.update", "session": {"echostream": {"max_future_frames": 9}}}',
        "unsupported_value",
    ),
    (
        '{"type": "session.update", "session": {"echostream": {"sample_rate": true}}}',
        "invalid_value",
    ),
    ('{"type": "session.update", "session": {"echostream": {"beam": 4}}}', "unknown_parameter"),
    ("[" * 100_000, "invalid_json"),
    ('{"type": "echostream.ping", "id": "\\ud83d"}', "invalid_json"),  # half of a pair
    ('{"type": "echostream.ping", "id": "' + 129 * "a" + '"}', "invalid_value"),
    ('{"type": "echostream.ping", "id": {}}', "invalid_value"),
]


def test_a_wrong_message_is_an_error_and_the_session_goes_on(port: int, model: Path) -> None:
    async def send_all() -> list[str]:
        url = f"ws://localhost:{port}/v1/realtime/translations?model={model.name}"
        async with websockets.connect(url) as link:
            assert json.loads(await link.recv())["type"] == "session.created"
            codes = []
            for message, _ in WRONG:
                await link.send(message)
                codes.append(json.loads(await link.recv())["error"]["code"])
            await link.send(b"binary")
            codes.append(json.loads(await link.recv())["error"]["code"])
            text = ""
            audio = {"type": "session.input_audio_buffer.append", "audio": append(DATA)}
            for message in (audio, {"type": "session.close"}):
                await link.send(json.dumps(message))
            async for message in link:
                event = json.loads(message)
                if event["type"] == "session.output_transcript.delta":
                    text += event["delta"]
            return [*codes, text]

    *codes, text = asyncio.run(send_all())
    assert codes == [code for _, code in WRONG] + ["invalid_message"]
    assert text == expected(model, DATA, CLIENT_RATE)[1]


def test_options_cannot_change_once_audio_has_come(port: int, model: Path) -> None:
    async def change() -> str:
        async with connection(port, model) as link:
            await link.recv()
            await link.session.input_audio_buffer.append(audio=append(DATA[:9600]))
            await link.session.update(session={"echostream": {"max_future_frames": 2}})
            while True:
                event = await link.recv()
                if event.type == "error":
                    return str(event.error.code)

    assert asyncio.run(change()) == "session_started"


def test_the_reason_of_a_refusal_fits_into_the_last_message(port: int) -> None:
    async def ask() -> tuple[str, int | None, str | None]:
        url = f"ws://localhost:{port}/v1/realtime/translations?model={'é' * 80}"
        async with websockets.connect(url) as link:
            first = json.loads(await link.recv())
            await link.wait_closed()
            return first["error"]["message"], link.close_code, link.close_reason

    message, code, reason = asyncio.run(ask())
    assert code == 1011 and reason and message.startswith(reason)
    assert 120 <= len(reason.encode()) <= 123


def test_another_model_is_refused(port: int) -> None:
    async def ask() -> str:
        async with connection(port, Path("whisper")) as link:
            return str((await link.recv()).error.code)

    assert asyncio.run(ask()) == "model_not_found"


def test_a_page_of_another_host_may_not_connect(port: int) -> None:
    async def connect(origin: str) -> int:
        url = f"ws://localhost:{port}/v1/realtime/translations"
        try:
            async with websockets.connect(url, origin=origin):
                return 101
        except websockets.InvalidStatus as error:
            return error.response.status_code

    assert asyncio.run(connect("https://elsewhere.example")) == 403
    assert asyncio.run(connect(f"http://localhost:{port}")) == 101


def test_metrics_count_sessions_and_audio(port: int, model: Path) -> None:
    def value(name: str) -> float:
        lines = get(port, "/metrics")[1].splitlines()
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        return float(line.split()[1])

    before = value("echostream_audio_seconds_total")
    asyncio.run(translate(port, model, DATA))
    gained = value("echostream_audio_seconds_total") - before
    assert np.isclose(gained, len(DATA) / 2 / CLIENT_RATE)
    assert value("echostream_sessions") == 0
