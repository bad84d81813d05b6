"""The heap of the C library: a server that runs for long gives back what is free in it.

A stream gets a new state in every step, among objects that live longer. So free memory lies in
pieces between used ones, and glibc keeps it: in half an hour of benchmarks/serve_soak.py a server
grew by 24 MB.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys

TRIM_SECONDS = 60.0


def trim() -> None:
    """Returns free pages to the system; does nothing without glibc."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


async def keep_trimmed() -> None:
    """Trims the heap again and again, until it is cancelled."""
    while True:
        await asyncio.sleep(TRIM_SECONDS)
        trim()
