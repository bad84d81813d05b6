"""Where a long export stands: each stage when it begins, while it goes on, and when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str], None]  # takes a line of text

TICK_SECONDS = 10.0


def silent(line: str) -> None:
    """Takes no notice."""


class Stages:
    """The stages of an export, numbered 1 to `total`, told to `report` with the time they take."""

    def __init__(self, total: int, report: Report) -> None:
        self._total = total
        self._report = report
        self._number = 0

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """One stage: the block."""
        self._number += 1
        name = f"[{self._number}/{self._total}] {what}"
        began = time.monotonic()
        self._report(f"{name} ...")
        done = threading.Event()
        ticking = threading.Thread(target=self._tick, args=(name, began, done), daemon=True)
        ticking.start()
        try:
            yield
        finally:
            done.set()
            ticking.join()
        self._report(f"{name}: {time.monotonic() - began:.1f} s")

    def _tick(self, name: str, began: float, done: threading.Event) -> None:
        while not done.wait(TICK_SECONDS):
            self._report(f"{name} ... {time.monotonic() - began:.0f} s so far")
