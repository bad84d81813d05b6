"""Utterances concatenated to one example, so that the network is trained on sentence boundaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from echostream.streaming.clock import GROUP_FRAMES, OUTPUT_STRIDE
from echostream.training.example import Example


def concatenate(examples: Sequence[Example], cuts: Sequence[int]) -> Example:
    """One example of several, in order.

    `cuts` are fbank frames to remove from the closing silence of each but the last; frames up to
    the last labelled piece are kept. Each example is then padded to whole groups with its last
    frame, so that the labels of the next one stay at their frames.
    """
    parts = [*(_cut(e, cut) for e, cut in zip(examples, cuts, strict=False)), examples[-1]]
    return Example(
        np.concatenate([e.frames for e in parts]),
        _concatenate_ids([e.source for e in parts]),
        _concatenate_ids([e.target for e in parts]),
        _concatenate_labels([e.source_labels for e in parts]),
        _concatenate_labels([e.target_labels for e in parts]),
    )


def loses_text(examples: Sequence[Example]) -> bool:
    """Whether the concatenated example would lack a text that one of the examples has.

    The text of a concatenation is only known if that of each part is.
    """
    sides = [e.source for e in examples], [e.target for e in examples]
    return any(None in texts and any(texts) for texts in sides)


def _concatenate_ids(texts: Sequence[list[int] | None]) -> list[int] | None:
    known = [text for text in texts if text is not None]
    return [piece for text in known for piece in text] if len(known) == len(texts) else None


def _cut(example: Example, cut: int) -> Example:
    num_labels = max(_num_labels(example.source_labels), _num_labels(example.target_labels))
    size = max(1, len(example.frames) - cut, OUTPUT_STRIDE * num_labels)
    frames = example.frames[:size]
    frames = np.pad(frames, ((0, -size % GROUP_FRAMES), (0, 0)), mode="edge")
    num_labels = len(frames) // OUTPUT_STRIDE
    return example._replace(
        frames=frames,
        source_labels=_fitted(example.source_labels, num_labels),
        target_labels=_fitted(example.target_labels, num_labels),
    )


def _num_labels(labels: NDArray[np.int64] | None) -> int:
    """The number of labels up to the last that is a piece."""
    return 0 if labels is None else int(labels.nonzero()[0].max(initial=-1)) + 1


def _fitted(labels: NDArray[np.int64] | None, size: int) -> NDArray[np.int64] | None:
    return None if labels is None else np.resize(np.append(labels, np.zeros(size, int)), size)


def _concatenate_labels(labels: Sequence[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    known = [part for part in labels if part is not None]
    return np.concatenate(known) if len(known) == len(labels) else None
