"""The endless feed of batches: fresh utterances, each used in a few rounds, in length buckets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from echostream.data.synthetic.nonspeech import nonspeech
from echostream.data.utterance import Utterance
from echostream.frontend.audio import AudioError
from echostream.streaming.clock import HOP_LENGTH, SAMPLE_RATE
from echostream.training.augment import change_volume
from echostream.training.batch import Batch, Place, collate
from echostream.training.concat import join
from echostream.training.example import Example, ExampleMaker
from echostream.training.tally import Tally


class Speech(Protocol):
    """Anything that has an utterance for every index, the same one each time."""

    def utterance(self, index: int) -> Utterance:
        """Raises AudioError if this one cannot be read; it is then left out."""


class Feed(IterableDataset[Batch]):
    """Endless batches of a worker, from its place on.

    Round r mixes the fresh block r with the `reuse - 1` blocks before it; while its batches are
    given out, block r + 1 is made bit by bit. All of it follows from the seed and the round, so a
    killed run goes on with the very batch that would have come.

    `places` has one place for each worker. The loader asks the workers in turn and begins with the
    first; `turn` is the worker that shall be the first, for a run that was stopped between two.
    """

    def __init__(
        self,
        speech: Speech,
        make: ExampleMaker,
        block_size: int,
        reuse: int,
        batch_seconds: float,
        seed: int,
        places: Sequence[Place],
        turn: int = 0,
        join_probability: float = 0.0,
        join_utterances: int = 4,
        nonspeech_probability: float = 0.0,
        gain_db: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.speech = speech
        self.make = make
        self.block_size = block_size
        self.reuse = reuse
        self.batch_frames = int(batch_seconds * SAMPLE_RATE / HOP_LENGTH)
        self.seed = seed
        self.places = places
        self.turn = turn
        self.join_probability = join_probability
        self.join_utterances = join_utterances
        self.nonspeech_probability = nonspeech_probability
        self.gain_db = gain_db

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        process, num_workers = (info.id, info.num_workers) if info else (0, 1)
        assert len(self.places) == num_workers, (len(self.places), num_workers)
        worker = (process + self.turn) % num_workers
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
        rng = np.random.default_rng([self.seed, number, 1])
        joined: list[Example] = []
        wanted = self._draw_size(rng)
        tally = Tally(f"block {number} of utterances")
        for index in range(number * self.block_size, (number + 1) * self.block_size):
            for utterance in self._utterances(index, tally):
                example = self.make(utterance)
                if example is None:
                    tally.add_short(utterance.id)
                else:
                    joined.append(example)
                if len(joined) == wanted:
                    yield self._join(joined, rng)
                    joined, wanted = [], self._draw_size(rng)
        if joined:
            yield self._join(joined, rng)
        tally.say()

    def _utterances(self, index: int, tally: Tally) -> Iterator[Utterance]:
        """The utterance at `index`, at a volume of its own, and sometimes a sound without words."""
        rng = np.random.default_rng([self.seed, index, 2])
        gain_db = rng.uniform(*self.gain_db)
        tally.num_utterances += 1
        try:
            utterance = self.speech.utterance(index)
        except AudioError as error:
            tally.add_unreadable(str(error))
        else:
            yield change_volume(utterance, gain_db)
        if rng.random() < self.nonspeech_probability:
            yield change_volume(nonspeech(rng), rng.uniform(*self.gain_db))

    def _draw_size(self, rng: np.random.Generator) -> int:
        """Of how many utterances the next example is made."""
        if rng.random() >= self.join_probability:
            return 1
        return int(rng.integers(2, self.join_utterances + 1))

    def _join(self, examples: list[Example], rng: np.random.Generator) -> Example:
        """The examples as one, with a part of the closing silence between them."""
        silence = len(self.make.tail) // HOP_LENGTH
        return join(examples, [int(cut) for cut in rng.integers(0, silence + 1, len(examples) - 1)])

    def _batches(self, pool: list[Example], number: int) -> list[list[int]]:
        """The examples of a round by about equal length, the batches in random order."""
        if not pool:
            raise ValueError(
                f"none of {self.block_size} utterances can be trained on: each is too short for "
                "its own text (there must be two encoder frames, 80 ms, for every piece), or its "
                "recording cannot be read (see the warnings above)."
            )
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
