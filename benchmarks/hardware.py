"""Limits of the machine, measured: memory bandwidth and floating-point peak of one thread.

A step of a model takes at least the time of reading its weights once, unless they stay in a cache,
and at least that of its floating-point operations. Both are measured with numpy and PyTorch, which
are within a few per cent of hand-written loops, in turn with the step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.timing import sample

_SIZE = 512  # of the square matrices: 3 MiB, which stay in a cache near the core
_TRIES = 8  # of each way to read, to find the fastest


class MemoryReadBound:
    """The time to read `nbytes` of private memory: a call of `read` does it once.

    It is the fastest of several library calls that read every byte and write none; `how` names it.
    """

    def __init__(self, nbytes: int) -> None:
        size = max(1, nbytes // 4)
        self.nbytes = 4 * size
        rng = np.random.default_rng(0)
        array = rng.random(size, np.float32)
        tensor = torch.from_numpy(array)
        rows = tensor[: size - size % 512].view(-1, 512)
        vector = torch.ones(rows.shape[1] if len(rows) else 1)
        ways: dict[str, Callable[[], object]] = {
            "numpy max": array.max,
            "numpy dot": lambda: array.dot(array),
            "torch sum": tensor.sum,
            # Without at most 511 values of millions.
            "torch mv": (lambda: torch.mv(rows, vector)) if len(rows) else tensor.sum,
        }
        best = {name: min(sample(way)[0] for _ in range(_TRIES)) for name, way in ways.items()}
        self.how = min(best, key=best.__getitem__)
        self.read = ways[self.how]

    def gb_per_s(self, ms: float) -> float:
        """The bandwidth of a read that took `ms`."""
        return self.nbytes / ms / 1e6


class GemmBound:
    """The time of a product of two square float32 matrices; a call of `multiply` does it once."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        a, b = torch.randn((2, _SIZE, _SIZE), generator=generator)
        out = torch.empty(_SIZE, _SIZE)
        self.flops = 2 * _SIZE**3
        self.multiply: Callable[[], object] = lambda: torch.mm(a, b, out=out)

    def gflop_per_s(self, ms: float) -> float:
        """The rate of a product that took `ms`."""
        return self.flops / ms / 1e6

    def ms_of(self, flops: int, ms: float) -> float:
        """The time of `flops` operations at the rate of a product that took `ms`."""
        return flops / self.gflop_per_s(ms) / 1e6
