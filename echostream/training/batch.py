"""Examples padded to one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from echostream.streaming.clock import OUTPUT_STRIDE
from echostream.training.example import NO_LABEL, Example

UNKNOWN = -1  # the length of a text that is not known: no loss is computed for it


class DatasetPosition(NamedTuple):
    """How far one lane of the dataset has been read: the round, and its batches so far."""

    round: int
    batch: int


class Batch(NamedTuple):
    """A batch of padded examples; T' = T // 4."""

    frames: Tensor  # (B, T, F)
    frame_lengths: Tensor  # (B,)
    source: Tensor  # (sum of lengths,)
    source_lengths: Tensor  # (B,), -1 where the text is unknown
    target: Tensor
    target_lengths: Tensor
    source_labels: Tensor  # (B, T') piece of each frame, blank elsewhere, -1 where unknown
    target_labels: Tensor
    lane: int
    next_position: DatasetPosition  # of the lane, after this batch


def collate(
    examples: Sequence[Example],
    lane: int = 0,
    next_position: DatasetPosition = DatasetPosition(0, 0),  # noqa: B008
) -> Batch:
    """One padded batch."""
    num_frames = max(len(e.frames) for e in examples)
    frames = np.zeros((len(examples), num_frames, examples[0].frames.shape[1]), dtype=np.float32)
    for row, example in zip(frames, examples, strict=True):
        row[: len(example.frames)] = example.frames
    return Batch(
        torch.from_numpy(frames),
        torch.tensor([len(e.frames) for e in examples]),
        _ids([e.source for e in examples]),
        _lengths([e.source for e in examples]),
        _ids([e.target for e in examples]),
        _lengths([e.target for e in examples]),
        _pad_labels([e.source_labels for e in examples], num_frames // OUTPUT_STRIDE),
        _pad_labels([e.target_labels for e in examples], num_frames // OUTPUT_STRIDE),
        lane,
        next_position,
    )


def padded(batch: Batch, multiple: int) -> Batch:
    """The batch with its frames padded to a multiple of so many; 4 divides `multiple`."""
    missing = -batch.frames.shape[1] % multiple
    num_outputs = (batch.frames.shape[1] + missing) // OUTPUT_STRIDE
    labels = batch.source_labels, batch.target_labels
    source, target = (
        functional.pad(rows, (0, num_outputs - rows.shape[1]), value=NO_LABEL) for rows in labels
    )
    frames = functional.pad(batch.frames, (0, 0, 0, missing))
    return batch._replace(frames=frames, source_labels=source, target_labels=target)


def _ids(rows: Sequence[Sequence[int] | None]) -> Tensor:
    # A batch may have no text at all, and an empty tensor has the type float by default.
    return torch.tensor([index for row in rows for index in row or ()], dtype=torch.long)


def _lengths(rows: Sequence[Sequence[int] | None]) -> Tensor:
    return torch.tensor([UNKNOWN if row is None else len(row) for row in rows])


def _pad_labels(labels: Sequence[NDArray[np.int64] | None], num_frames: int) -> Tensor:
    padded = torch.full((len(labels), num_frames), NO_LABEL)
    for row, label in zip(padded, labels, strict=True):
        if label is not None:
            row[: len(label)] = torch.from_numpy(label)
    return padded
