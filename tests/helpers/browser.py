"""Headless Chromium, driven over its debugging protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--mute-audio", "--remote-debugging-port=0"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
    "--autoplay-policy=no-user-gesture-required",
]


class Page:
    """A page of the browser: its script, and the websocket messages that it sent."""

    def __init__(self, link: Any) -> None:
        self._link = link
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.sent: list[dict[str, Any]] = []
        self.problems: list[str] = []

    async def read(self) -> None:
        """Takes what the browser reports, until it ends."""
        async for text in self._link:
            message = json.loads(text)
            if "id" in message:
                self._waiting.pop(message["id"]).set_result(message)
            elif message["method"] == "Network.webSocketFrameSent":
                self.sent.append(json.loads(message["params"]["response"]["payloadData"]))
            elif message["method"] == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(message["params"])[:500])

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        future = self._waiting[number]
        await self._link.send(json.dumps({"id": number, "method": method, "params": params}))
        answer = await asyncio.wait_for(future, 30)
        assert "error" not in answer, answer
        return answer["result"]

    async def run(self, script: str) -> Any:
        """The value of a script."""
        done = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def until(self, script: str, seconds: float = 30) -> None:
        """Returns when the value of a script is true."""
        for _ in range(int(seconds * 10)):
            if await self.run(script):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {script}; {self.problems}")


@asynccontextmanager
async def browser(url: str, *flags: str, width: int = 1280) -> AsyncIterator[Page]:
    """A page that shows `url`."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *FLAGS,
            *flags,
            f"--user-data-dir={profile}",
            f"--window-size={width},900",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
        )
        try:
            port = await _port(Path(profile))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                (target,) = [t for t in json.load(answer) if t["type"] == "page"]
            async with websockets.connect(target["webSocketDebuggerUrl"], max_size=None) as link:
                page = Page(link)
                reading = asyncio.create_task(page.read())
                for domain in ("Network", "Runtime", "Page"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=url)
                yield page
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        finally:
            process.terminate()
            await process.wait()


async def _port(profile: Path) -> str:
    """The port that Chromium writes down when it is there."""
    for _ in range(300):
        file = profile / "DevToolsActivePort"
        if file.exists() and (lines := file.read_text().splitlines()):
            return lines[0]
        await asyncio.sleep(0.1)
    raise AssertionError("Chromium did not start within 30 s")


async def shown(page: Page) -> tuple[str, str]:
    """The source and the target text of the server's page."""
    lines = "[...document.querySelectorAll('#{} p')].map(p => p.textContent.trim()).join(' ')"
    source, target = [await page.run(lines.replace("{}", side)) for side in ("source", "target")]
    return source, target
