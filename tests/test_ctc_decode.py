"""Greedy CTC collapse: cutting a stream anywhere does not change what is decoded."""

from __future__ import annotations

from itertools import groupby

import pytest
import torch
from torch import Tensor

from echostream.models import BLANK_ID
from echostream.models.ctc_decode import CollapseState, collapse, init_collapse


def reference(ids: list[int]) -> tuple[list[int], list[int]]:
    """Slow and obvious: group equal neighbours, drop the groups of blanks."""
    groups = [
        (token, next(iter(group))[0])
        for token, group in groupby(enumerate(ids), key=lambda pair: pair[1])
    ]
    kept = [(token, first) for token, first in groups if token != BLANK_ID]
    return [token for token, _ in kept], [first for _, first in kept]


def one_hot(ids: Tensor, vocab_size: int) -> Tensor:
    return torch.nn.functional.one_hot(ids, vocab_size).float()


def run(logits: Tensor, valid: Tensor, cuts: list[int]) -> tuple[list[list[int]], list[list[int]]]:
    """Tokens and frames of all streams, decoded in the given pieces."""
    state = init_collapse(len(logits))
    tokens: list[list[int]] = [[] for _ in logits]
    frames: list[list[int]] = [[] for _ in logits]
    for piece, mask in zip(logits.split(cuts, 1), valid.split(cuts, 1), strict=True):
        new_tokens, new_frames, state = collapse(piece, mask, state)
        for row in range(len(logits)):
            tokens[row] += new_tokens[row]
            frames[row] += new_frames[row]
    return tokens, frames


def random_cuts(length: int, generator: torch.Generator) -> list[int]:
    cuts: list[int] = []
    while sum(cuts) < length:
        step = int(torch.randint(0, 6, (1,), generator=generator))
        cuts.append(min(step, length - sum(cuts)))
    return cuts


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 6, 40, 41])
def test_random_cuts_give_the_collapse_of_the_whole(length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    for _ in range(50):
        ids = torch.randint(0, 3, (3, length), generator=generator)  # small: repeats are common
        logits = one_hot(ids, 3)
        valid = torch.ones(3, length, dtype=torch.bool)
        tokens, frames = run(logits, valid, random_cuts(length, generator))
        for row in range(3):
            assert (tokens[row], frames[row]) == reference(ids[row].tolist())


def test_frames_that_are_not_valid_are_passed_over() -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        ids = torch.randint(0, 3, (2, 30), generator=generator)
        valid = torch.rand(2, 30, generator=generator) < 0.6
        tokens, frames = run(one_hot(ids, 3), valid, random_cuts(30, generator))
        for row in range(2):
            assert (tokens[row], frames[row]) == reference(ids[row][valid[row]].tolist())


def test_a_repeat_across_a_cut_is_one_token_and_a_blank_between_makes_two() -> None:
    logits = one_hot(torch.tensor([[1, 1, 0, 1]]), 2)
    tokens, frames = run(logits, torch.ones(1, 4, dtype=torch.bool), [1, 1, 1, 1])
    assert (tokens, frames) == ([[1, 1]], [[0, 3]])


def test_the_state_is_a_value_and_keeps_its_shape() -> None:
    state = init_collapse(2)
    before = CollapseState(*(leaf.clone() for leaf in state))
    _, _, after = collapse(one_hot(torch.tensor([[1], [0]]), 2), torch.ones(2, 1).bool(), state)
    assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))
    assert [(t.shape, t.dtype) for t in after] == [(t.shape, t.dtype) for t in state]
    assert after.last_id.tolist() == [1, 0]
    assert after.num_frames.tolist() == [1, 1]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must agree, but are \(1, 2, 3\), \(1, 3\), \(1,\)"):
        collapse(torch.zeros(1, 2, 3), torch.ones(1, 3).bool(), init_collapse(1))
    with pytest.raises(ValueError, match="must agree"):
        collapse(torch.zeros(2, 2, 3), torch.ones(2, 2).bool(), init_collapse(1))
