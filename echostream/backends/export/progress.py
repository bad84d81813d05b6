"""Progress of a long export: lines at the beginning, during and at the end of each stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str], None]  # called with a line of text

TICK_SECONDS = 10.0


def silent(line: str) -> None:
    """A `Report` that drops the line."""


class Stages:
    """The stages of an export, numbered 1 to `total`, reported with their times."""

    def __init__(self, total: int, report: Report) -> None:
        self._total = total
        self._report = report
        self._number = 0

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """A stage, which lasts as long as the block."""
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
