"""Limits of the machine, measured: how fast one thread reads memory, how fast it multiplies.

Nothing can take a step through a model in less time than reading its weights once takes, unless
they stay in a cache; and nothing in less than its floating-point operations take. Both are
measured with numpy and PyTorch, which come within a few per cent of hand-written loops, in turn
with what they are compared with.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.timing import sample

_SIZE = 512  # of the square matrices: 3 MiB, which stay in a cache near the core
_TRIES = 8  # of each way to read, to choose the fastest


class Reader:
    """Reads `nbytes` of memory that nobody else uses: a call of `read` does it once.

    Of a few library calls that read every byte and write none, the one that is fastest here is
    taken; `how` names it.
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
            # Leaves out at most 511 values of millions.
            "torch mv": (lambda: torch.mv(rows, vector)) if len(rows) else tensor.sum,
        }
        best = {name: min(sample(way)[0] for _ in range(_TRIES)) for name, way in ways.items()}
        self.how = min(best, key=best.__getitem__)
        self.read = ways[self.how]

    def gb_per_s(self, ms: float) -> float:
        """The bandwidth of a read that took `ms`."""
        return self.nbytes / ms / 1e6


class Multiplier:
    """Multiplies two square matrices in float32: a call of `multiply` does it once."""

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
        """What so many operations take at the rate of a product that took `ms`."""
        return flops / self.gflop_per_s(ms) / 1e6
