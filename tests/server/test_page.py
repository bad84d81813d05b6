"""The page in a real browser: its captions are a session's words on the samples that it sent."""

from __future__ import annotations

import asyncio
import base64
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from browser import Page, browser, needs_chromium, shown
from documents import ROOT
from live_server import CLIENT_RATE, append, connection, expected, live_server, pcm
from tiny_model import babble, make_model_folder
from tiny_speech import make_speaking_folder

MODEL = ROOT / "models" / "fr-en-demo"
EXAMPLES = ROOT / "examples" / "fr-en"
FOLDER = ROOT / "echostream" / "server" / "page"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    flags = ["--capacity", "2", "--no-speech", "--examples", str(EXAMPLES)]
    with live_server(MODEL, tmp_path_factory.mktemp("server"), *flags) as port:
        yield port


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording as WAV, which the browser plays into its microphone."""
    samples, rate = soundfile.read(EXAMPLES / "test-seen-2026-0000000.flac", dtype="int16")
    path = tmp_path_factory.mktemp("audio") / "microphone.wav"
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def words_of(page: Page, **options: object) -> tuple[str, str]:
    """Both texts of a session of its own, on the samples that the page sent."""
    (update,) = [m["session"] for m in page.sent if m["type"] == "session.update"]
    audio = [m["audio"] for m in page.sent if m["type"] == "session.input_audio_buffer.append"]
    data = b"".join(base64.b64decode(piece) for piece in audio)
    assert len(data) > 2 * update["echostream"]["sample_rate"]  # a second
    return expected(MODEL, data, update["echostream"]["sample_rate"], **options)


async def begin(page: Page, source: str) -> None:
    await page.until("document.getElementById('start')?.disabled === false")
    await page.run(f"document.getElementById('input').value = {source!r}; 1")
    await page.run("document.getElementById('start').click()")


@needs_chromium
def test_audio_of_the_microphone_is_captioned(port: int, microphone: Path) -> None:
    async def use() -> tuple[tuple[str, str], tuple[str, str]]:
        flag = f"--use-file-for-fake-audio-capture={microphone}%noloop"
        async with browser(f"http://localhost:{port}/", flag) as page:
            await begin(page, "microphone:")
            await page.until("document.querySelector('#target p') !== null")
            await asyncio.sleep(4)
            await page.run("document.getElementById('start').click()")
            await page.until("document.getElementById('status').textContent === 'finished'")
            assert page.problems == []
            return await shown(page), words_of(page)

    found, wanted = asyncio.run(use())
    assert found == wanted and len(found[1].split()) > 3


@needs_chromium
def test_a_recording_is_captioned_with_the_options_chosen(port: int) -> None:
    async def use() -> tuple[tuple[str, str], tuple[str, str], str]:
        async with browser(f"http://localhost:{port}/") as page:
            await page.until("document.getElementById('start')?.disabled === false")
            for name, value in (("look-ahead", 1), ("method", "decoder")):
                radio = f"document.querySelector('input[name={name}][value=\"{value}\"]')"
                await page.run(f"{radio}.click()")
            await begin(page, "recording:test-seen-2026-0000001")
            await page.until("document.getElementById('status').textContent === 'finished'")
            assert page.problems == []
            options = {"max_future_frames": 1, "decoding_method": "decoder", "lagging_k1": 1}
            algorithm = await page.run("document.getElementById('algorithm').textContent")
            return await shown(page), words_of(page, **options), algorithm

    found, wanted, algorithm = asyncio.run(use())
    assert found == wanted and len(found[1].split()) > 3
    assert algorithm == "320 ms"


@needs_chromium
def test_a_viewer_gives_the_key_of_the_server(tmp_path: Path) -> None:
    model = make_model_folder(tmp_path / "fr-en-tiny")
    data = pcm(babble(3.0, seed=3, sample_rate=CLIENT_RATE))

    async def use(port: int) -> tuple[str, str]:
        async with connection(port, model, "a-secret") as link:
            name = (await link.recv()).session.id
            await link.session.input_audio_buffer.append(audio=append(data))
            async with browser(f"http://localhost:{port}/?watch={name}") as page:
                await page.until("document.getElementById('start')?.textContent === 'Watch'")
                assert await page.run("document.getElementById('input').offsetParent === null")
                for key, status in (
                    ("a b", "cannot send"),
                    ("wrong", "refuses"),
                    ("a-secret", "watching"),
                ):
                    if key == "a-secret":  # the field is hidden after an attempt
                        await page.call("Page.reload")
                        await page.until(
                            "document.getElementById('start')?.textContent === 'Watch'"
                        )
                    await page.run(f"document.getElementById('key').value = {key!r}; 1")
                    await page.run("document.getElementById('start').click()")
                    await page.until(
                        f"document.getElementById('status').textContent.includes({status!r})"
                    )
                await link.session.close()
                await page.until("document.getElementById('status').textContent.includes('ended')")
                return await shown(page)

    with live_server(model, tmp_path, "--api-key", "a-secret") as port:
        assert asyncio.run(use(port)) == expected(model, data, CLIENT_RATE)


@needs_chromium
def test_what_plays_the_speech_is_closed_after_its_end(tmp_path: Path) -> None:
    model = make_speaking_folder(tmp_path / "fr-en-tiny")
    watched = """window.contexts = []; window.AudioContext = class extends AudioContext {
        constructor() { super(); contexts.push(this); } createBufferSource() {
        this.played = true; return super.createBufferSource(); } }; 1"""

    async def use(port: int) -> list[bool]:
        async with browser(f"http://localhost:{port}/") as page:
            await page.until("document.getElementById('start')?.disabled === false")
            await page.run(watched)
            await page.run("document.getElementById('speech').checked = true; 1")
            await begin(page, "recording:test-seen-2026-0000000")
            await page.until("document.getElementById('status').textContent === 'finished'")
            await page.until("contexts.every((one) => one.state === 'closed')")
            assert page.problems == []
            played: list[bool] = await page.run("contexts.map((one) => one.played ?? false)")
            return played

    with live_server(model, tmp_path, "--examples", str(EXAMPLES)) as port:
        assert asyncio.run(use(port)) == [True]


@needs_chromium
def test_a_viewer_of_a_session_that_is_nowhere_is_told_so_after_some_tries(port: int) -> None:
    async def use() -> tuple[str, str]:
        async with browser(f"http://localhost:{port}/?watch=sess_none") as page:
            status = "document.getElementById('status')?.textContent"
            await page.until(f"{status} === 'looking for the session …'")
            await page.until(f"{status}?.includes('no session')")
            assert page.problems == []
            return await shown(page)

    assert asyncio.run(use()) == ("", "")


def test_the_page_loads_nothing_from_elsewhere(port: int) -> None:
    for file in sorted(FOLDER.iterdir()):
        text = file.read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}
        with urllib.request.urlopen(f"http://localhost:{port}/page/{file.name}") as answer:
            assert answer.read().decode() == text
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
