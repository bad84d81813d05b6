"""Greedy CTC decoding: cutting a stream anywhere does not change its tokens."""

from __future__ import annotations

import pytest
import torch
from slow_reference import greedy_ctc
from torch import Tensor

from echostream.config import BLANK_ID
from echostream.models.ctc_decode import best_ids, merge

VOCAB_SIZE = 3  # small: repeats are common


def one_hot(ids: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(ids, VOCAB_SIZE).float()


def decoded(ids: list[int], cuts: list[int]) -> list[tuple[int, int]]:
    """Tokens and their frames, merged in pieces of the given sizes."""
    found, start, last_id = [], 0, BLANK_ID
    for size in cuts:
        merged = merge(ids[start : start + size], last_id)
        found += [
            (token, start + position)
            for token, position in zip(merged.tokens, merged.positions, strict=True)
        ]
        start, last_id = start + size, merged.last_id
    return found


def random_cuts(length: int, generator: torch.Generator) -> list[int]:
    cuts: list[int] = []
    while sum(cuts) < length:
        step = int(torch.randint(0, 6, (1,), generator=generator))
        cuts.append(min(step, length - sum(cuts)))
    return cuts


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 6, 40, 41])
def test_random_cuts_give_the_tokens_of_the_whole(length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    for _ in range(150):
        ids = torch.randint(0, VOCAB_SIZE, (length,), generator=generator)
        valid = torch.ones(length, dtype=torch.bool)
        cuts = random_cuts(length, generator)
        assert decoded(ids.tolist(), cuts) == greedy_ctc(one_hot(ids), valid)


def test_frames_that_are_not_valid_are_passed_over() -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        logits = torch.randn(2, 30, VOCAB_SIZE, generator=generator)
        valid = torch.rand(2, 30, generator=generator) < 0.6
        for row, ids in enumerate(best_ids(logits, valid).tolist()):
            tokens = [token for token, _ in decoded(ids, random_cuts(30, generator))]
            assert tokens == [token for token, _ in greedy_ctc(logits[row], valid[row])]


def test_a_repeat_across_a_cut_is_one_token_and_a_blank_between_makes_two() -> None:
    assert decoded([1, 1, 0, 1], [1, 1, 1, 1]) == [(1, 0), (1, 3)]
