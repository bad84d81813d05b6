"""Concatenated examples: every label keeps its frame, whatever is cut off between them."""

from __future__ import annotations

import numpy as np
import pytest

from echostream.training.concat import concatenate
from echostream.training.example import Example


def example(num_frames: int, pieces: dict[int, int], value: float) -> Example:
    """An example whose labels are the `pieces` at their positions, blank elsewhere."""
    labels = np.zeros(num_frames // 4, dtype=np.int64)
    for position, piece in pieces.items():
        labels[position] = piece
    frames = np.full((num_frames, 80), value, np.float16)
    return Example(frames, list(pieces.values()), list(pieces.values()), labels, labels.copy())


@pytest.mark.parametrize("num_frames", range(59, 71))
@pytest.mark.parametrize("cut", [0, 1, 15, 16, 17, 40, 1000])
def test_labels_keep_their_frames_and_no_piece_is_lost(num_frames: int, cut: int) -> None:
    last = num_frames // 4 - 1
    first = example(num_frames, {2: 5, 7: 6}, 1.0)
    second = example(40, {0: 7, 9: 8}, 2.0)
    at_its_end = example(num_frames, {last: 9}, 3.0)
    whole = concatenate([first, second, at_its_end], [cut, cut])
    assert whole.source == whole.target == [5, 6, 7, 8, 9]
    for labels in (whole.source_labels, whole.target_labels):
        assert labels is not None and len(labels) == len(whole.frames) // 4
        for frame in np.flatnonzero(labels):
            owner = {5: 1.0, 6: 1.0, 7: 2.0, 8: 2.0, 9: 3.0}[int(labels[frame])]
            assert (whole.frames[4 * frame : 4 * frame + 4] == owner).all()
        assert labels[labels > 0].tolist() == [5, 6, 7, 8, 9]
    starts = [int(np.flatnonzero(whole.frames[:, 0] == value)[0]) for value in (1.0, 2.0, 3.0)]
    assert all(start % 16 == 0 for start in starts)
    assert int((whole.frames[:, 0] == 1.0).sum()) <= -(-max(32, num_frames - cut) // 16) * 16


def test_the_last_is_not_cut() -> None:
    first, last = example(64, {3: 1}, 1.0), example(61, {2: 2}, 2.0)
    assert len(concatenate([first, last], [48]).frames) == 16 + 61
    assert concatenate([last], []).frames.shape == last.frames.shape


def test_labels_are_unknown_as_soon_as_one_is() -> None:
    first, last = example(64, {3: 1}, 1.0), example(64, {2: 2}, 2.0)
    whole = concatenate([first._replace(source_labels=None), last], [0])
    assert whole.source_labels is None and whole.target_labels is not None
