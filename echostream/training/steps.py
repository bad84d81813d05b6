"""The steps of one rank: it draws its share of the batches of each step and trains on them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from echostream.training.batch import Batch, DatasetPosition
from echostream.training.config import TrainConfig
from echostream.training.dataset import BatchDataset
from echostream.training.example import ExampleMaker
from echostream.training.loader import load_batches
from echostream.training.sources import Speech
from echostream.training.trainer import StepReport, Trainer


class Done(NamedTuple):
    """What came of a step; without a report it was skipped."""

    batches: list[Batch]  # of all ranks if the step was skipped, else of this one
    report: StepReport | None
    reason: str = ""  # why it was skipped

    def audio_seconds(self) -> float:
        """Speech in the batches."""
        return sum(float(batch.frame_lengths.sum()) for batch in self.batches) / 100


class Steps:
    """Draws and trains, from a step on; all ranks call the same methods in the same order.

    Batch k of the whole training, counted over all steps, is of lane k modulo the number of lanes,
    which is a multiple of the number of batches in a step: so a lane belongs to one rank.
    """

    def __init__(
        self, trainer: Trainer, batches: Iterator[Batch], positions: list[DatasetPosition]
    ) -> None:
        self.trainer = trainer
        self._batches = batches
        self._positions = list(positions)
        self._count = len(trainer.ranks.slots(trainer.config.accumulate))

    def do(self, step: int) -> Done:
        """Trains on the next batches. On all ranks a step is skipped, or on none."""
        batches = [next(self._batches) for _ in range(self._count)]
        for batch in batches:
            self._positions[batch.lane] = batch.next_position
        try:
            return Done(batches, self.trainer.step(step, *batches))
        except FloatingPointError as error:
            everyone = self.trainer.ranks.gather(batches)
            return Done([b for some in everyone for b in some], None, str(error))

    def positions(self) -> list[DatasetPosition]:
        """How far each lane has been read, by whichever rank it belongs to."""
        everywhere = self.trainer.ranks.gather(self._positions)
        return [max(found) for found in zip(*everywhere, strict=True)]


def first_positions(config: TrainConfig) -> list[DatasetPosition]:
    """The beginning of each lane of a new run.

    There are as many for each batch of a step as processes that make batches. They stay as many
    when the number of processes changes later on.
    """
    return [DatasetPosition(0, 0)] * config.accumulate * max(config.data.num_workers, 1)


@contextmanager
def opened_steps(
    trainer: Trainer,
    speech: Speech,
    make: ExampleMaker,
    step: int,
    positions: list[DatasetPosition],
) -> Iterator[Steps]:
    """The steps from `step` on, with the processes that make batches while the block lasts."""
    trainer.distribute()
    batches = _batches(trainer, speech, make, step, positions)
    try:
        yield Steps(trainer, batches, positions)
    finally:
        batches.close()


def _batches(
    trainer: Trainer,
    speech: Speech,
    make: ExampleMaker,
    step: int,
    positions: list[DatasetPosition],
) -> Generator[Batch, None, None]:
    config = trainer.config
    data, augment, together = config.data, config.augment, config.accumulate
    num_turns = len(positions) // together
    slots = trainer.ranks.slots(together)
    turns = [(step + turn) % num_turns for turn in range(num_turns)]
    dataset = BatchDataset(
        speech,
        make,
        data.block_size,
        data.reuse,
        data.batch_seconds,
        data.seed,
        positions,
        concat_probability=data.concat_probability,
        concat_utterances=data.concat_utterances,
        nonspeech_probability=data.nonspeech_probability,
        gain_db=augment.gain_db,
        speeds=augment.speeds,
        turn=[turn * together + slot for turn in turns for slot in slots],
        acoustics=augment.acoustics,
        even=together > 1,
    )
    return load_batches(dataset, data.num_workers)
