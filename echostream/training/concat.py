"""Utterances joined to one stream, so that training knows what follows the end of a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from echostream.streaming.clock import GROUP_FRAMES, OUTPUT_STRIDE
from echostream.training.example import Example


def join(examples: Sequence[Example], cuts: Sequence[int]) -> Example:
    """One example of several, in order.

    `cuts` are fbank frames to take off the end of each but the last, where its closing silence is;
    never the frames up to the last piece that is due. Each then fills whole groups, the last one
    with its last frame repeated, so that the labels of the next keep their places.
    """
    parts = [*(_cut(e, cut) for e, cut in zip(examples, cuts, strict=False)), examples[-1]]
    return Example(
        np.concatenate([e.frames for e in parts]),
        [piece for e in parts for piece in e.source],
        [piece for e in parts for piece in e.target],
        _joined([e.source_labels for e in parts]),
        _joined([e.target_labels for e in parts]),
    )


def _cut(example: Example, cut: int) -> Example:
    due = [OUTPUT_STRIDE * _last_due(e) for e in (example.source_labels, example.target_labels)]
    size = max(1, len(example.frames) - cut, *due)
    frames = example.frames[:size]
    frames = np.pad(frames, ((0, -size % GROUP_FRAMES), (0, 0)), mode="edge")
    num_labels = len(frames) // OUTPUT_STRIDE
    return example._replace(
        frames=frames,
        source_labels=_fitted(example.source_labels, num_labels),
        target_labels=_fitted(example.target_labels, num_labels),
    )


def _last_due(labels: NDArray[np.int64] | None) -> int:
    """How many labels there are up to the last that is a piece."""
    return 0 if labels is None else int(labels.nonzero()[0].max(initial=-1)) + 1


def _fitted(labels: NDArray[np.int64] | None, size: int) -> NDArray[np.int64] | None:
    return None if labels is None else np.resize(np.append(labels, np.zeros(size, int)), size)


def _joined(labels: Sequence[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    known = [part for part in labels if part is not None]
    return np.concatenate(known) if len(known) == len(labels) else None
