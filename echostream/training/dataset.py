"""The endless dataset of batches: new utterances, used in several rounds, in length buckets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from echostream.data.synthetic.nonspeech import nonspeech
from echostream.data.utterance import Utterance
from echostream.frontend.audio import AudioError
from echostream.streaming.clock import HOP_LENGTH, SAMPLE_RATE
from echostream.training.acoustics import Acoustics
from echostream.training.augment import change_speed, change_volume
from echostream.training.batch import Batch, DatasetPosition, collate
from echostream.training.concat import concatenate, loses_text
from echostream.training.example import Example, ExampleMaker
from echostream.training.tally import Tally


class Utterances(Protocol):
    """The utterance of every index from 0 on, the same one at each call."""

    def utterance(self, index: int) -> Utterance:
        """Raises AudioError if this one cannot be read; it is then left out."""


class BatchDataset(IterableDataset[Batch]):
    """Endless batches from several lanes in turn, each from a position on.

    Lane l of n has the blocks l, l + n, l + 2 n, ... of utterances; its batches do not depend on
    the process that makes them. The shuffle buffer of round r are block r and the `reuse - 1`
    blocks before it; while the batches of a round are yielded, the next block is loaded in small
    portions. Everything follows from the seed and the round, so a resumed run gets the batch that
    would have come next.

    `positions` has one position for each lane, and `turn` the lanes of this dataset in the order in
    which they are read, again and again: all of them by default, from `first_lane` on. In a loader
    with P processes, process p has the lanes p, p + P, ... of the turn. With `even` the batches are
    about equally large: no more of them than else, and the last ones are not left small.
    """

    def __init__(
        self,
        speech: Utterances,
        make: ExampleMaker,
        block_size: int,
        reuse: int,
        batch_seconds: float,
        seed: int,
        positions: Sequence[DatasetPosition],
        first_lane: int = 0,
        concat_probability: float = 0.0,
        concat_utterances: int = 4,
        nonspeech_probability: float = 0.0,
        gain_db: tuple[float, float] = (0.0, 0.0),
        speeds: Sequence[float] = (1.0,),
        acoustics: Acoustics = Acoustics(),  # noqa: B008
        turn: Sequence[int] | None = None,
        even: bool = False,
    ) -> None:
        self.speech = speech
        self.make = make
        self.block_size = block_size
        self.reuse = reuse
        self.batch_frames = int(batch_seconds * SAMPLE_RATE / HOP_LENGTH)
        self.seed = seed
        self.positions = positions
        lanes = range(len(positions))
        self.turn = [*lanes[first_lane:], *lanes[:first_lane]] if turn is None else list(turn)
        self.even = even
        self.concat_probability = concat_probability
        self.concat_utterances = concat_utterances
        self.nonspeech_probability = nonspeech_probability
        self.gain_db = gain_db
        self.speeds = tuple(speeds)
        self.acoustics = acoustics

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        process, num_processes = (info.id, info.num_workers) if info else (0, 1)
        assert len(self.turn) % num_processes == 0, (self.turn, num_processes)
        lanes = [self._lane(lane) for lane in self.turn[process::num_processes]]
        while True:
            for lane in lanes:
                yield next(lane)

    def _lane(self, lane: int) -> Iterator[Batch]:
        position, num_lanes = self.positions[lane], len(self.positions)
        first = max(0, position.round - self.reuse + 1)
        blocks = {
            r: list(self._block(r * num_lanes + lane)) for r in range(first, position.round + 1)
        }
        current = position.round
        while True:
            shuffle_buffer = [e for r in sorted(blocks) for e in blocks[r]]
            batches = self._batches(shuffle_buffer, current * num_lanes + lane)
            examples = self._block((current + 1) * num_lanes + lane)
            next_block: list[Example] = []
            portion = -(-self.block_size // len(batches))
            for number, members in enumerate(batches):
                if number >= position.batch:
                    next_position = (
                        DatasetPosition(current, number + 1)
                        if number + 1 < len(batches)
                        else DatasetPosition(current + 1, 0)
                    )
                    yield collate([shuffle_buffer[i] for i in members], lane, next_position)
                next_block.extend(e for _, e in zip(range(portion), examples, strict=False))
            next_block.extend(examples)
            current += 1
            blocks[current] = next_block
            blocks.pop(current - self.reuse, None)
            position = DatasetPosition(current, 0)

    def _block(self, number: int) -> Iterator[Example]:
        rng = np.random.default_rng([self.seed, number, 1])
        parts: list[Example] = []
        num_parts = self._draw_num_parts(rng)
        tally = Tally(f"block {number} of utterances")
        for index in range(number * self.block_size, (number + 1) * self.block_size):
            for utterance in self._utterances(index, tally):
                example = self.make(utterance)
                if example is None:
                    tally.add_short(utterance.id)
                else:
                    if parts and loses_text([*parts, example]):
                        yield self._concatenate(parts, rng)
                        parts = []
                    parts.append(example)
                if len(parts) == num_parts:
                    yield self._concatenate(parts, rng)
                    parts, num_parts = [], self._draw_num_parts(rng)
        if parts:
            yield self._concatenate(parts, rng)
        tally.log()

    def _utterances(self, index: int, tally: Tally) -> Iterator[Utterance]:
        """The utterance at `index` in random acoustics, at a random volume and speed, and sometimes
        a sound without words."""
        rng = np.random.default_rng([self.seed, index, 2])
        gain_db = rng.uniform(*self.gain_db)
        try:
            utterance = self.speech.utterance(index)
        except AudioError as error:
            tally.add_unreadable(str(error))
        else:
            tally.add(utterance.id)
            speeds = np.random.default_rng([self.seed, index, 3])
            speed = self.speeds[int(speeds.integers(len(self.speeds)))]
            recorded = self.acoustics(utterance, np.random.default_rng([self.seed, index, 4]))
            yield change_speed(change_volume(recorded, gain_db), speed)
        if rng.random() < self.nonspeech_probability:
            yield change_volume(nonspeech(rng), rng.uniform(*self.gain_db))

    def _draw_num_parts(self, rng: np.random.Generator) -> int:
        """The number of utterances of the next example."""
        if rng.random() >= self.concat_probability:
            return 1
        return int(rng.integers(2, self.concat_utterances + 1))

    def _concatenate(self, examples: list[Example], rng: np.random.Generator) -> Example:
        """The examples as one, each but the last with a random part of its closing silence."""
        silence = len(self.make.tail) // HOP_LENGTH
        cuts = rng.integers(0, silence + 1, len(examples) - 1)
        return concatenate(examples, [int(cut) for cut in cuts])

    def _batches(self, examples: list[Example], number: int) -> list[list[int]]:
        """Batches of examples of similar length, as indices, in random order."""
        if not examples:
            raise ValueError(
                f"none of the {self.block_size} utterances of a block can be trained on: each is "
                "too short for its own text (there must be two encoder frames, 80 ms, for every "
                "piece), or its recording cannot be read (see the warnings above)."
            )
        rng = np.random.default_rng([self.seed, number])
        lengths = np.array([len(example.frames) for example in examples])
        order = np.argsort(lengths * rng.uniform(0.95, 1.05, len(examples)), kind="stable")
        limit = self.batch_frames
        batches = _pack(lengths, order, limit)
        least = limit // 2 if self.even else limit  # of the limits that give as few batches
        while least < limit:
            middle = (least + limit) // 2
            packed = _pack(lengths, order, middle)
            if len(packed) <= len(batches):
                batches, limit = packed, middle
            else:
                least = middle + 1
        return [batches[i] for i in rng.permutation(len(batches))]


def _pack(lengths: NDArray[np.int64], order: NDArray[np.int64], limit: int) -> list[list[int]]:
    """Batches of neighbours in an order, each of at most `limit` frames with the padding."""
    batches: list[list[int]] = [[]]
    longest = 0
    for index in order:
        longest = max(longest, int(lengths[index]))
        if batches[-1] and longest * (len(batches[-1]) + 1) > limit:
            batches.append([])
            longest = int(lengths[index])
        batches[-1].append(int(index))
    return batches
