"""The page goes on at the next server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import soundfile
from browser import browser, needs_chromium
from documents import ROOT
from live_server import expected
from restarted import Servers

MODEL = ROOT / "models" / "fr-en-demo"
EXAMPLES = ROOT / "examples" / "fr-en"


@needs_chromium
def test_captions_of_the_page_have_no_gap_at_a_restart(tmp_path: Path) -> None:
    name = "test-seen-2026-0000005"
    samples, rate = soundfile.read(EXAMPLES / f"{name}.flac", dtype="int16")

    async def use(servers: Servers) -> tuple[list[str], int]:
        async with browser(f"http://localhost:{servers.port}/") as page:
            await page.until("document.getElementById('start')?.disabled === false")
            await page.run(f"document.getElementById('input').value = 'recording:{name}'; 1")
            await page.run("document.getElementById('start').click()")
            await page.until("document.querySelector('#source p') !== null")
            await asyncio.to_thread(servers.restart)
            await page.until("document.getElementById('status').textContent === 'finished'", 60)
            assert page.problems == []
            lines = (
                "[...document.querySelectorAll('#{} p')].map(p => p.textContent.trim()).join(' ')"
            )
            texts = [await page.run(lines.replace("{}", side)) for side in ("source", "target")]
            return texts, len([m for m in page.sent if m["type"] == "session.update"])

    flags = ("--no-speech", "--examples", str(EXAMPLES))
    with Servers(MODEL, tmp_path, *flags) as servers:
        texts, updates = asyncio.run(use(servers))
    assert tuple(texts) == expected(MODEL, samples.tobytes(), rate)
    assert updates == 1 and '"reason": "moved"' in (tmp_path / "serve.log").read_text()


@needs_chromium
def test_a_session_that_is_lost_is_a_gap_and_another_one_begins(tmp_path: Path) -> None:
    async def use(servers: Servers) -> int:
        async with browser(f"http://localhost:{servers.port}/") as page:
            await page.until("document.getElementById('start')?.disabled === false")
            await page.run("document.getElementById('start').click()")
            await page.until("document.querySelector('#source p') !== null")
            await asyncio.to_thread(servers.restart, keep=False)
            await page.until("document.getElementById('status').textContent === 'finished'", 60)
            assert page.problems == []
            return int(await page.run("document.querySelectorAll('#target .gap').length"))

    flags = ("--no-speech", "--examples", str(EXAMPLES))
    with Servers(MODEL, tmp_path, *flags) as servers:
        assert asyncio.run(use(servers)) == 1
