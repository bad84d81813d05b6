"""The one function that checks the five laws of a streaming module (`check_contract`).

1. step == forward, however the groups are cut into chunks;
2. (the cut of samples: `test_chain.py`, from samples to token ids;)
3. streams are independent: NaN in a neighbour changes nothing;
4. the state keeps its shapes, dtypes and bytes, and `step` writes to nothing that it was given;
5. the look-ahead is the one declared: input after it changes nothing, input just before it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from echostream.streaming import named_leaves, state_nbytes

Streamed = tuple[Tensor, Any]
CHUNKS = ([1], [2], [3], [4], [5], [1, 4, 2, 5, 3])  # groups in each step


@dataclass(frozen=True)
class Streaming:
    """A streaming module behind one interface; G groups are `group_in * G` frames in.

    `forward(x, valid)` gives `(B, group_out * G, ...)`. `step(x, valid, state)` gives as many
    frames for each chunk, `look_ahead` groups late.
    """

    module: nn.Module
    width: int
    group_in: int
    group_out: int
    forward: Callable[[Tensor, Tensor], Tensor]
    init_state: Callable[[int], Any]
    step: Callable[[Tensor, Tensor, Any], Streamed]
    context: int  # groups of the past that can matter, without the recursion of a memory bank
    look_ahead: int = 0
    within_group: bool = True  # a frame sees what comes after it in its own group
    dtype: torch.dtype = torch.float64
    tolerance: float = 1e-10


def check_contract(case: Streaming, chunks: Sequence[int], seed: int = 0) -> None:
    """Laws 1, 3, 4 and 5 for a module that is fed in chunks of the given sizes in turn."""
    torch.manual_seed(seed)
    num_groups = 3 * case.context + 7
    x = torch.randn(3, num_groups * case.group_in, case.width, dtype=case.dtype)
    with torch.no_grad():
        whole = case.forward(x, torch.ones(x.shape[:2], dtype=torch.bool))
        streamed, state = run(case, x, chunks)
        assert streamed.shape == whole.shape
        assert_close(streamed, whole, "step is not forward", case.tolerance)
        _check_neighbours(case, x, whole, chunks)
        _check_state(case, x, state)
        _check_latency(case, x, whole)


def run(case: Streaming, x: Tensor, chunks: Sequence[int]) -> Streamed:
    """Feeds whole groups chunk by chunk, then silence for the frames that the look-ahead delays."""
    state = case.init_state(x.shape[0])
    flush = x.new_zeros(x.shape[0], case.look_ahead * case.group_in, case.width)
    fed = torch.cat([x, flush], dim=1)
    valid = torch.arange(fed.shape[1]) < x.shape[1]
    outputs = []
    for start, stop in cut(fed.shape[1] // case.group_in, chunks):
        frames = slice(start * case.group_in, stop * case.group_in)
        y, state = case.step(fed[:, frames], valid[frames].expand(x.shape[0], -1), state)
        assert y.shape[1] == (stop - start) * case.group_out
        outputs.append(y)
    return torch.cat(outputs, dim=1)[:, case.look_ahead * case.group_out :], state


def cut(num_groups: int, chunks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The groups as chunks of the given sizes, over and over; the last may be smaller."""
    start = turn = 0
    while start < num_groups:
        stop = min(num_groups, start + chunks[turn % len(chunks)])
        yield start, stop
        start, turn = stop, turn + 1


def assert_close(found: Tensor, wanted: Tensor, what: str, tolerance: float = 1e-10) -> None:
    """Fails with the first frame that is off."""
    off = (found - wanted).abs().flatten(2).amax(dim=(0, 2)) if found.dim() > 2 else found - wanted
    bad = ~(off <= tolerance)  # NaN is off too
    assert not bad.any(), f"{what}: first at frame {int(bad.nonzero()[0])}, by {off.max():.2e}"


def _check_neighbours(case: Streaming, x: Tensor, whole: Tensor, chunks: Sequence[int]) -> None:
    poisoned = x.clone()
    poisoned[0], poisoned[2] = float("nan"), float("nan")
    streamed, _ = run(case, poisoned, chunks)
    assert_close(streamed[1:2], whole[1:2], "a neighbour's NaN comes through", case.tolerance)
    alone, _ = run(case, x[1:2], chunks)
    assert_close(alone, whole[1:2], "a stream alone differs from one in a batch", case.tolerance)


def _check_state(case: Streaming, x: Tensor, late: Any) -> None:
    fresh = case.init_state(x.shape[0])
    layout = [(name, leaf.shape, leaf.dtype) for name, leaf in named_leaves(fresh)]
    assert layout == [(name, leaf.shape, leaf.dtype) for name, leaf in named_leaves(late)]
    assert state_nbytes(fresh) == state_nbytes(late)
    assert all(leaf.shape[0] == x.shape[0] for _, leaf in named_leaves(fresh)), (
        "axis 0 is the stream"
    )

    kept = [leaf.clone() for _, leaf in named_leaves(late)]
    weights = {name: value.clone() for name, value in case.module.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in case.module.named_modules()}
    chunk = x[:, : 2 * case.group_in]
    valid = torch.ones(chunk.shape[:2], dtype=torch.bool)
    first, _ = case.step(chunk, valid, late)
    again, _ = case.step(chunk, valid, late)
    assert torch.equal(first, again), "step is not a function of its arguments"
    assert all(torch.equal(a, b) for a, (_, b) in zip(kept, named_leaves(late), strict=True))
    assert all(torch.equal(weights[n], v) for n, v in case.module.state_dict().items())
    assert attributes == {name: set(vars(module)) for name, module in case.module.named_modules()}


def _check_latency(case: Streaming, x: Tensor, whole: Tensor) -> None:
    valid = torch.ones(x.shape[:2], dtype=torch.bool)
    group = case.context + 2  # far enough from both ends
    last_seen = (group + 1 + case.look_ahead) * case.group_in
    emitted = slice(0, (group + 1) * case.group_out)

    after = x.clone()
    after[:, last_seen:] += 1.0
    early = case.forward(after, valid)[:, emitted]
    assert_close(early, whole[:, emitted], "the future leaks in", case.tolerance)
    if case.within_group or case.look_ahead:
        before = x.clone()
        before[:, last_seen - 1] += 1.0
        first_frame = group * case.group_out
        changed = (case.forward(before, valid) - whole)[:, first_frame].abs().amax()
        assert changed > max(1e-6, 10 * case.tolerance), "the declared look-ahead is not used"


def randomised(module: nn.Module) -> nn.Module:
    """The module in float64 with every parameter moved: zeros at the start would hide errors."""
    torch.manual_seed(7)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module
