"""The losses are what their definitions give by hand and by brute force."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from echostream.training.losses import alignment_loss, ctc_loss


def collapse(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != 0]


def brute_force_nll(logits: Tensor, tokens: list[int]) -> float:
    """-log of the summed probability of every path `(T,)` that collapses to `tokens`."""
    probability = logits.double().softmax(-1)  # (T, V)
    num_frames, vocab_size = probability.shape
    total = sum(
        math.prod(float(probability[t, label]) for t, label in enumerate(path))
        for path in itertools.product(range(vocab_size), repeat=num_frames)
        if collapse(path) == tokens
    )
    return -math.log(total)


def test_ctc_loss_is_the_sum_over_all_alignments_per_token() -> None:
    rows = [(5, [1, 2]), (4, [2, 2]), (3, [1]), (5, [1, 2, 1])]
    logits = torch.randn(len(rows), 5, 3)
    expected = sum(brute_force_nll(logits[b, :n], tokens) for b, (n, tokens) in enumerate(rows))
    found = ctc_loss(
        logits,
        torch.tensor([n for n, _ in rows]),
        torch.tensor([token for _, tokens in rows for token in tokens]),
        torch.tensor([len(tokens) for _, tokens in rows]),
    )
    assert found.item() == pytest.approx(expected / 8, rel=1e-5)  # 8 tokens in all


def test_frames_after_the_end_of_a_recording_do_not_count() -> None:
    logits = torch.randn(1, 6, 3)
    arguments = torch.tensor([4]), torch.tensor([1, 2]), torch.tensor([2])
    before = ctc_loss(logits, *arguments)
    logits[:, 4:] = 100 * torch.randn(1, 2, 3)
    assert torch.equal(ctc_loss(logits, *arguments), before)


def test_a_text_that_cannot_fit_counts_nothing_and_has_no_gradient() -> None:
    logits = torch.randn(2, 3, 3, requires_grad=True)
    loss = ctc_loss(
        logits, torch.tensor([3, 3]), torch.tensor([1, 1, 1, 2]), torch.tensor([3, 1])
    )  # 1 1 1 needs five frames
    loss.backward()
    assert logits.grad is not None and not logits.grad[0].any() and logits.grad[1].any()
    assert loss.item() == pytest.approx(brute_force_nll(logits[1].detach(), [2]) / 4, rel=1e-5)


def test_alignment_loss_is_the_weighted_cross_entropy_for_each_piece() -> None:
    logits = torch.log(
        torch.tensor([[[0.5, 0.25, 0.25], [0.2, 0.7, 0.1]], [[0.1, 0.1, 0.8], [0.6, 0.3, 0.1]]])
    )
    labels = torch.tensor([[0, 1], [2, 0]])
    blanks, pieces = -math.log(0.5) - math.log(0.6), -math.log(0.7) - math.log(0.8)
    found = alignment_loss(logits, labels, 0.1)
    assert found.item() == pytest.approx((0.1 * blanks + pieces) / 2, rel=1e-6)


def test_frames_whose_label_is_not_known_do_not_count() -> None:
    logits = torch.randn(2, 3, 4, requires_grad=True)
    labels = torch.tensor([[1, 0, -1], [-1, -1, -1]])
    loss = alignment_loss(logits, labels, 0.1)
    loss.backward()
    assert torch.equal(loss, alignment_loss(logits[:1, :2], labels[:1, :2], 0.1))
    assert logits.grad is not None
    assert not logits.grad[0, 2].any() and not logits.grad[1].any()


def test_without_any_known_piece_the_alignment_loss_is_finite() -> None:
    loss = alignment_loss(torch.randn(1, 3, 4), torch.full((1, 3), -1), 0.1)
    assert loss.item() == 0.0
