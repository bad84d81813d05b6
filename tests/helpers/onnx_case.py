"""A network's outputs and states chunk by chunk, in either back end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from contract import cut
from torch import Tensor

from echostream.backends.protocol import Network
from echostream.streaming import GROUP_FRAMES, named_leaves

TOLERANCE = 1e-4  # float32, in two libraries


def noise(batch: int, num_groups: int, seed: int = 0) -> Tensor:
    """Frames `(B, 16 G, 80)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, GROUP_FRAMES * num_groups, 80, generator=generator)


def run_chunks(
    network: Network, x: Tensor, chunks: Sequence[int], look_ahead: int, valid: Tensor | None = None
) -> Iterator[tuple[Any, Any]]:
    """The output and the next state of each chunk."""
    valid = torch.ones(x.shape[:2], dtype=torch.bool) if valid is None else valid
    state = network.init_state(len(x), look_ahead)
    for start, stop in cut(x.shape[1] // GROUP_FRAMES, chunks):
        frames = slice(GROUP_FRAMES * start, GROUP_FRAMES * stop)
        with torch.inference_mode():  # not around `yield`: the caller would be in it, too
            output, state = network.step(x[:, frames], state, valid[:, frames])
        yield output, state


def logits_of(network: Network, x: Tensor, chunks: Sequence[int], look_ahead: int = 0) -> Tensor:
    """Of both heads, over all chunks, `(B, 4 G, V)`."""
    outputs = [output for output, _ in run_chunks(network, x, chunks, look_ahead)]
    return torch.cat([torch.cat(output[:2], dim=2) for output in outputs], dim=1)


def assert_same(found: Any, wanted: Any, where: str) -> None:
    """Every tensor alike: layout and whole numbers exactly, the rest within `TOLERANCE`."""
    for (name, theirs), (_, ours) in zip(named_leaves(found), named_leaves(wanted), strict=True):
        assert (theirs.shape, theirs.dtype) == (ours.shape, ours.dtype), f"{where}: {name}"
        if ours.is_floating_point():
            off = (theirs - ours).abs() / (1 + ours.abs())
            assert not (off > TOLERANCE).any(), f"{where}: {name} is off by {off.max():.1e}"
            assert torch.equal(theirs.isfinite(), ours.isfinite()), f"{where}: {name}"
        else:
            assert torch.equal(theirs, ours), f"{where}: {name}"
