"""The page goes on at the next server, and so does one that only watches."""

from __future__ import annotations

import asyncio
from pathlib import Path

import soundfile
from browser import browser, needs_chromium, shown
from documents import ROOT
from live_server import expected
from restarted import Servers

MODEL = ROOT / "models" / "fr-en-demo"
EXAMPLES = ROOT / "examples" / "fr-en"


def status(text: str) -> str:
    return f"document.getElementById('status')?.textContent === '{text}'"


@needs_chromium
def test_captions_of_the_page_and_of_a_viewer_have_no_gap_at_a_restart(tmp_path: Path) -> None:
    name = "test-seen-2026-0000005"
    samples, rate = soundfile.read(EXAMPLES / f"{name}.flac", dtype="int16")

    async def use(servers: Servers) -> tuple[list[tuple[str, str]], int]:
        async with browser(f"http://localhost:{servers.port}/") as page:
            await page.until("document.getElementById('start')?.disabled === false")
            await page.run(f"document.getElementById('input').value = 'recording:{name}'; 1")
            await page.run("document.getElementById('start').click()")
            await page.until("document.querySelector('#source p') !== null")
            async with browser(await page.run("document.getElementById('watch').href")) as viewer:
                await viewer.until(status("watching"))
                await asyncio.to_thread(servers.restart)
                await page.until(status("finished"), 60)
                await viewer.until(status("the session has ended"))
                assert page.problems == viewer.problems == []
                texts = [await shown(page), await shown(viewer)]
            return texts, len([m for m in page.sent if m["type"] == "session.update"])

    flags = ("--no-speech", "--examples", str(EXAMPLES))
    with Servers(MODEL, tmp_path, *flags) as servers:
        texts, updates = asyncio.run(use(servers))
    assert texts == 2 * [expected(MODEL, samples.tobytes(), rate)]
    assert updates == 1 and '"reason": "moved"' in (tmp_path / "serve.log").read_text()


@needs_chromium
def test_a_session_that_is_lost_is_a_gap_and_another_one_begins(tmp_path: Path) -> None:
    async def use(servers: Servers) -> int:
        async with browser(f"http://localhost:{servers.port}/") as page:
            await page.until("document.getElementById('start')?.disabled === false")
            await page.run("document.getElementById('start').click()")
            await page.until("document.querySelector('#source p') !== null")
            await asyncio.to_thread(servers.restart, keep=False)
            await page.until(status("finished"), 60)
            assert page.problems == []
            return int(await page.run("document.querySelectorAll('#target .gap').length"))

    flags = ("--no-speech", "--examples", str(EXAMPLES))
    with Servers(MODEL, tmp_path, *flags) as servers:
        assert asyncio.run(use(servers)) == 1
