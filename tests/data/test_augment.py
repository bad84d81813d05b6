"""SpecAugment hides bands of the stated width, in every row others, and repeats with its seed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from echostream.training.augment import spec_augment


def augment(
    frames: Tensor, bands: tuple[int, int] = (0, 0), gaps: tuple[int, int] = (0, 0), seed: int = 0
) -> Tensor:
    """`bands` and `gaps`: how many masks of bins and of frames, and how wide at most."""
    return spec_augment(frames, *bands, *gaps, torch.Generator().manual_seed(seed))


def hidden_bins(row: Tensor) -> list[int]:
    """Bins of `(T, F)` that are hidden in all frames; each bin must be hidden in all or none."""
    hidden = row == 0
    assert torch.equal(hidden.all(0), hidden.any(0))
    return hidden.all(0).nonzero().flatten().tolist()


@pytest.mark.parametrize("axis", [1, 2])
def test_one_mask_is_one_band_of_every_width_up_to_the_widest(axis: int) -> None:
    masks = {"bands": (1, 4)} if axis == 2 else {"gaps": (1, 4)}
    widths, positions = set(), set()
    for seed in range(60):
        found = augment(torch.ones(8, 12, 12), **masks, seed=seed)
        for row in found if axis == 2 else found.transpose(1, 2):
            bins = hidden_bins(row)
            assert not bins or bins == list(range(bins[0], bins[-1] + 1))
            widths.add(len(bins))
            positions.update(bins)
    assert widths == {0, 1, 2, 3, 4}
    assert positions == set(range(12))  # both ends are reached


def test_several_masks_hide_no_more_than_their_widths_together() -> None:
    for seed in range(30):
        for row in augment(torch.ones(4, 10, 20), (3, 2), seed=seed):
            assert len(hidden_bins(row)) <= 6


def test_a_mask_may_be_wider_than_the_input() -> None:
    found = torch.stack([augment(torch.ones(1, 3, 5), (1, 50), (1, 50), s) for s in range(50)])
    assert set(found.unique().tolist()) == {0.0, 1.0}


def test_what_is_not_hidden_stays_as_it_was_and_the_input_is_not_changed() -> None:
    frames = torch.rand(3, 40, 80) + 1
    before = frames.clone()
    found = augment(frames, (2, 12), (2, 10))
    assert torch.equal(frames, before)
    assert torch.equal(found[found != 0], frames[found != 0])
    assert (found == 0).any()


def test_zero_masks_and_zero_widths_leave_the_input_alone() -> None:
    frames = torch.randn(3, 40, 80)
    assert torch.equal(augment(frames, (0, 12), (0, 10)), frames)
    assert torch.equal(augment(frames, (2, 0), (2, 0)), frames)


def test_the_same_seed_hides_the_same_and_another_seed_does_not() -> None:
    frames = torch.ones(3, 40, 80)
    first, again, other = (augment(frames, (2, 12), (2, 10), seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_rows_of_a_batch_differ_in_the_position_and_in_the_width_of_a_mask() -> None:
    rows = [hidden_bins(row) for row in augment(torch.ones(12, 40, 80), (1, 20))]
    assert len({len(bins) for bins in rows}) > 4
    assert len({bins[0] for bins in rows if bins}) > 4
