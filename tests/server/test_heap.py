"""A long-lived server gives free memory back."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from pathlib import Path

import pytest
from in_process import serving
from tiny_model import make_model_folder

from benchmarks.memory import memory_mb
from echostream.model_folder import load_model
from echostream.server import heap

glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="the C library is not glibc",
)


def fragments() -> list[bytearray]:
    """100 MB in the heap, of which one block in a hundred is still used."""
    blocks = [bytearray(50_000) for _ in range(2000)]
    return blocks[::100]


@glibc
def test_free_memory_between_used_memory_is_given_back() -> None:
    used = fragments()
    before = memory_mb("VmRSS")
    heap.trim()
    assert memory_mb("VmRSS") < before - 80
    assert sum(map(len, used)) == 1_000_000


@glibc
def test_a_server_trims_its_heap_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heap, "TRIM_SECONDS", 0.05)
    model = load_model(make_model_folder(tmp_path / "fr-en-tiny"))

    async def use() -> None:
        async with serving(model):
            for _ in range(2):
                used = fragments()
                before = memory_mb("VmRSS")
                await asyncio.sleep(0.3)
                assert memory_mb("VmRSS") < before - 80
                assert len(used) == 20

    asyncio.run(use())
