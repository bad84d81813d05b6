"""The endless feed of batches: fresh utterances, each used in a few rounds, in length buckets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from echostream.data.utterance import Utterance
from echostream.streaming.clock import HOP_LENGTH, SAMPLE_RATE
from echostream.training.example import NO_LABEL, Example, ExampleMaker


class Speech(Protocol):
    """Anything that has an utterance for every index, the same one each time."""

    def utterance(self, index: int) -> Utterance: ...


class Place(NamedTuple):
    """Where the feed of one worker stands: the round, and the batches of it already given."""

    round: int
    batch: int


class Batch(NamedTuple):
    """A batch of padded examples; T' = T // 4."""

    frames: Tensor  # (B, T, F)
    frame_lengths: Tensor  # (B,)
    source: Tensor  # (sum of lengths,)
    source_lengths: Tensor  # (B,)
    target: Tensor
    target_lengths: Tensor
    source_labels: Tensor  # (B, T') piece due at each frame, blank elsewhere, -1 where unknown
    target_labels: Tensor
    worker: int
    next_place: Place  # where the worker's feed goes on after this batch


class Feed(IterableDataset[Batch]):
    """Endless batches of a worker, from its place on.

    Round r mixes the fresh block r with the `reuse - 1` blocks before it; while its batches are
    given out, block r + 1 is made bit by bit. All of it follows from the seed and the round, so a
    killed run goes on with the very batch that would have come.
    """

    def __init__(
        self,
        speech: Speech,
        make: ExampleMaker,
        block_size: int,
        reuse: int,
        batch_seconds: float,
        seed: int,
        places: list[Place],
    ) -> None:
        self.speech = speech
        self.make = make
        self.block_size = block_size
        self.reuse = reuse
        self.batch_frames = int(batch_seconds * SAMPLE_RATE / HOP_LENGTH)
        self.seed = seed
        self.places = places

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, num_workers = (info.id, info.num_workers) if info else (0, 1)
        place = self.places[worker]
        # Worker w of n owns the blocks w, w + n, w + 2 n, ...
        first = max(0, place.round - self.reuse + 1)
        blocks = {
            r: list(self._block(r * num_workers + worker)) for r in range(first, place.round + 1)
        }
        current = place.round
        while True:
            pool = [e for r in sorted(blocks) for e in blocks[r]]
            order = self._batches(pool, current * num_workers + worker)
            fresh = self._block((current + 1) * num_workers + worker)
            coming: list[Example] = []
            portion = -(-self.block_size // len(order))
            for number, members in enumerate(order):
                if number >= place.batch:
                    following = (
                        Place(current, number + 1)
                        if number + 1 < len(order)
                        else Place(current + 1, 0)
                    )
                    yield collate([pool[i] for i in members], worker, following)
                coming.extend(e for _, e in zip(range(portion), fresh, strict=False))
            coming.extend(fresh)
            current += 1
            blocks[current] = coming
            blocks.pop(current - self.reuse, None)
            place = Place(current, 0)

    def _block(self, number: int) -> Iterator[Example]:
        for index in range(number * self.block_size, (number + 1) * self.block_size):
            example = self.make(self.speech.utterance(index))
            if example is not None:
                yield example

    def _batches(self, pool: list[Example], number: int) -> list[list[int]]:
        """The examples of a round by about equal length, the batches in random order."""
        rng = np.random.default_rng([self.seed, number])
        lengths = np.array([len(example.frames) for example in pool])
        order = np.argsort(lengths * rng.uniform(0.95, 1.05, len(pool)), kind="stable")
        batches: list[list[int]] = [[]]
        longest = 0
        for index in order:
            longest = max(longest, int(lengths[index]))
            if batches[-1] and longest * (len(batches[-1]) + 1) > self.batch_frames:
                batches.append([])
                longest = int(lengths[index])
            batches[-1].append(int(index))
        return [batches[i] for i in rng.permutation(len(batches))]


def make_loader(feed: Feed, num_workers: int) -> DataLoader[Batch]:
    """The feed in processes of its own."""
    return DataLoader(
        feed, batch_size=None, num_workers=num_workers, prefetch_factor=8 if num_workers else None
    )


def collate(
    examples: list[Example],
    worker: int = 0,
    next_place: Place = Place(0, 0),  # noqa: B008
) -> Batch:
    """One padded batch."""
    num_frames = max(len(e.frames) for e in examples)
    frames = np.zeros((len(examples), num_frames, examples[0].frames.shape[1]), dtype=np.float32)
    for row, example in zip(frames, examples, strict=True):
        row[: len(example.frames)] = example.frames
    return Batch(
        torch.from_numpy(frames),
        torch.tensor([len(e.frames) for e in examples]),
        torch.tensor([i for e in examples for i in e.source]),
        torch.tensor([len(e.source) for e in examples]),
        torch.tensor([i for e in examples for i in e.target]),
        torch.tensor([len(e.target) for e in examples]),
        _pad_labels([e.source_labels for e in examples], num_frames // 4),
        _pad_labels([e.target_labels for e in examples], num_frames // 4),
        worker,
        next_place,
    )


def _pad_labels(labels: list[np.ndarray | None], num_frames: int) -> Tensor:
    padded = torch.full((len(labels), num_frames), NO_LABEL)
    for row, label in zip(padded, labels, strict=True):
        if label is not None:
            row[: len(label)] = torch.from_numpy(label)
    return padded
