"""The dataset: every utterance in `reuse` rounds, batches within the limit, exact resume."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from words import word_example_maker

from echostream.data.utterance import Utterance
from echostream.training.batch import Batch, DatasetPosition
from echostream.training.dataset import BatchDataset
from echostream.training.example import Example, ExampleMaker
from echostream.training.loader import NICENESS, load_batches

DIGITS = "zéro un deux trois quatre cinq six sept".split()  # noqa: SIM905
BLOCK, REUSE = 6, 3


def spell(number: int) -> str:
    return " ".join(DIGITS[int(digit)] for digit in f"{number:03o}")


@cache  # a block is made again at every resume
def counted(index: int) -> Utterance:
    """Noise of 0.3 to 1 s whose text is its index; each seventh too short for its text."""
    rng = np.random.default_rng(index)
    seconds = 0.05 if index % 7 == 3 else rng.uniform(0.3, 1.0)
    samples = rng.normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)
    return Utterance(str(index), samples, spell(index), spell(index), "noise")


class Counting:
    def utterance(self, index: int) -> Utterance:
        return counted(index)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> ExampleMaker:
    return word_example_maker(DIGITS, tmp_path_factory.mktemp("spm"))


def dataset_of(
    make: ExampleMaker,
    positions: list[DatasetPosition] | None = None,
    first_lane: int = 0,
    seed: int = 5,
) -> BatchDataset:
    positions = positions or [DatasetPosition(0, 0)]
    return BatchDataset(Counting(), make, BLOCK, REUSE, 2.0, seed, positions, first_lane)


@pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
def test_concatenated_or_not_a_block_gives_each_utterance_once_and_in_order(
    make: ExampleMaker, probability: float
) -> None:
    dataset = BatchDataset(
        Counting(), make, 200, 1, 2.0, 5, [DatasetPosition(0, 0)],
        concat_probability=probability, concat_utterances=3,
    )  # fmt: skip
    examples = list(dataset._block(1))
    sentences = [make.source_tokenizer.decode(e.source).split() for e in examples]
    sizes = Counter(len(words) // 3 for words in sentences)
    found = [word for words in sentences for word in words]
    wanted = [word for n in range(200, 400) if n % 7 != 3 for word in spell(n).split()]
    assert found == wanted
    if probability == 0.0:
        assert set(sizes) == {1}
    elif probability == 1.0:
        assert sizes[2] > 20 and sizes[3] > 20 and sizes[1] <= 1
    else:
        assert sizes[1] > sizes[2] > 5 and sizes[3] > 5
    again = list(dataset._block(1))
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(examples, again, strict=True))


def indices(batch: Batch, make: ExampleMaker) -> list[int]:
    """The utterances of a batch, read off its text."""
    texts = [
        make.source_tokenizer.decode(piece.tolist()).split()
        for piece in batch.source.split(batch.source_lengths.tolist())
    ]
    return [int("".join(str(DIGITS.index(word)) for word in text), 8) for text in texts]


def rounds(batches: Iterator[Batch], count: int) -> Iterator[list[Batch]]:
    """The batches of the first `count` rounds of one worker."""
    for _ in range(count):
        taken = [next(batches)]
        while taken[-1].next_position.batch:
            taken.append(next(batches))
        yield taken


def assert_same(found: Batch, expected: Batch) -> None:
    for field, a, b in zip(Batch._fields, found, expected, strict=True):
        same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        assert same, f"`{field}` differs"


def test_every_utterance_takes_part_once_in_each_of_reuse_rounds(make: ExampleMaker) -> None:
    num_rounds = 7
    count: Counter[int] = Counter()
    for number, batches in enumerate(rounds(iter(dataset_of(make)), num_rounds)):
        members = [index for batch in batches for index in indices(batch, make)]
        assert len(members) == len(set(members))
        first = max(0, number - REUSE + 1)
        assert set(members) <= set(range(first * BLOCK, (number + 1) * BLOCK))
        count.update(members)
    complete = range((num_rounds - REUSE + 1) * BLOCK)
    assert {i: count[i] for i in complete} == {i: REUSE * (i % 7 != 3) for i in complete}


def test_the_blocks_of_two_workers_do_not_overlap(make: ExampleMaker) -> None:
    seen: dict[int, set[int]] = {0: set(), 1: set()}
    for batch in islice(load_batches(dataset_of(make, [DatasetPosition(0, 0)] * 2), 2), 16):
        seen[batch.lane].update(indices(batch, make))
    for worker, found in seen.items():
        assert found and all(index // BLOCK % 2 == worker for index in found)


def test_a_batch_is_within_the_limit_or_a_single_utterance_longer_than_it(
    make: ExampleMaker,
) -> None:
    dataset = dataset_of(make)
    dataset.batch_frames = 90  # shorter than the longest recordings
    sizes = [batch.frames.shape[:2] for batch in islice(dataset, 60)]
    assert all(rows * frames <= 90 or rows == 1 for rows, frames in sizes)
    assert any(rows * frames > 90 for rows, frames in sizes)
    assert any(rows > 1 for rows, _ in sizes)


def test_the_batches_of_a_step_are_equally_large_to_five_percent(make: ExampleMaker) -> None:
    """Utterances of 1 to 10 s in batches of 72 s, as in training; four ranks take one each."""
    lengths = np.random.default_rng(1).lognormal(5.8, 0.5, (4, 1024)).clip(100, 1000).astype(int)
    waste, counts = {}, {}
    for even in (False, True):
        dataset = BatchDataset(
            Counting(), make, BLOCK, REUSE, 72.0, 5, [DatasetPosition(0, 0)], even=even
        )
        sizes = []  # of the batches of each lane, padding included
        for lane, row in enumerate(lengths):
            examples = [Example(np.empty((n, 1), np.float16), [], [], None, None) for n in row]
            batches = dataset._batches(examples, lane)
            assert sorted(i for batch in batches for i in batch) == list(range(1024))
            sizes.append([max(row[i] for i in batch) * len(batch) for batch in batches])
        counts[even] = [len(lane) for lane in sizes]
        steps = np.array([lane[: min(counts[even])] for lane in sizes])
        assert steps.max() <= 7200
        waste[even] = 1 - steps.mean() / steps.max(0).mean()
    assert counts[True] == counts[False]
    assert waste[True] < waste[False] and waste[True] < 0.05


def test_recordings_of_about_equal_length_share_a_batch_and_batches_come_in_any_order(
    make: ExampleMaker,
) -> None:
    for batches in rounds(iter(dataset_of(make)), 3):
        lengths = [batch.frame_lengths.tolist() for batch in batches]
        longest = [max(row) for row in lengths]
        by_length = sorted(lengths, key=max)
        # The order has a jitter of +-5 %: neighbours may change positions, no more.
        assert all(max(a) <= 1.11 * min(b) for a, b in pairwise(by_length))
        assert len(longest) > 2
    assert longest != sorted(longest)


def test_a_batch_holds_what_its_examples_are(make: ExampleMaker) -> None:
    for batch in islice(dataset_of(make), 12):
        for row, index in enumerate(indices(batch, make)):
            example = make(counted(index))
            assert example is not None
            length = int(batch.frame_lengths[row])
            assert length == len(example.frames)
            assert torch.equal(batch.frames[row, :length], torch.tensor(example.frames).float())
            assert not batch.frames[row, length:].any()


def test_the_same_seed_gives_the_same_batches_and_another_seed_does_not(
    make: ExampleMaker,
) -> None:
    first, again, other = (list(islice(dataset_of(make, seed=s), 12)) for s in (5, 5, 6))
    for a, b in zip(first, again, strict=True):
        assert_same(a, b)
    assert [indices(b, make) for b in first] != [indices(b, make) for b in other]


def test_from_every_position_the_dataset_goes_on_with_the_batches_that_would_have_come(
    make: ExampleMaker,
) -> None:
    whole = list(islice(dataset_of(make), 24))
    assert whole[-1].next_position.round > REUSE  # blocks have been dropped by then
    for number, batch in enumerate(whole[:-4]):
        resumed = islice(dataset_of(make, [batch.next_position]), 4)
        for found, expected in zip(resumed, whole[number + 1 :], strict=False):
            assert_same(found, expected)


@pytest.mark.parametrize("stopped_after", [3, 4, 9])
def test_two_workers_go_on_with_the_batches_that_would_have_come(
    make: ExampleMaker, stopped_after: int
) -> None:
    # After an odd number of batches the next is the second worker's: a loader that simply began
    # with the first again would give the batches in another order.
    positions = [DatasetPosition(0, 0)] * 2
    whole = list(islice(load_batches(dataset_of(make, positions), 2), stopped_after + 5))
    for batch in whole[:stopped_after]:
        positions[batch.lane] = batch.next_position
    resumed = load_batches(dataset_of(make, positions, first_lane=stopped_after % 2), 2)
    for found, expected in zip(islice(resumed, 5), whole[stopped_after:], strict=True):
        assert_same(found, expected)


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_the_batches_of_two_lanes_do_not_depend_on_the_number_of_processes(
    make: ExampleMaker, num_workers: int
) -> None:
    positions = [DatasetPosition(0, 3), DatasetPosition(1, 0)]
    wanted = islice(load_batches(dataset_of(make, positions, first_lane=1), 0), 7)
    found = islice(load_batches(dataset_of(make, positions, first_lane=1), num_workers), 7)
    for a, b in zip(found, wanted, strict=True):
        assert_same(a, b)


def test_one_process_more_gives_the_batches_that_come_without_it(make: ExampleMaker) -> None:
    here, there = (islice(load_batches(dataset_of(make), workers), 5) for workers in (0, 1))
    for found, expected in zip(there, here, strict=True):
        assert_same(found, expected)


def test_utterances_none_of_which_fits_are_an_error_and_not_an_endless_search(
    make: ExampleMaker,
) -> None:
    class Short:
        def utterance(self, index: int) -> Utterance:
            return counted(3)

    dataset = BatchDataset(Short(), make, BLOCK, REUSE, 2.0, 1, [DatasetPosition(0, 0)])
    with pytest.raises(ValueError, match=r"none of the 6 utterances .* too short for its own text"):
        next(iter(dataset))


def test_a_worker_has_a_lower_priority_than_the_training(make: ExampleMaker) -> None:
    class Niceness:
        def utterance(self, index: int) -> Utterance:
            return Utterance("", counted(0).samples, spell(os.nice(0)), spell(0), "noise")

    dataset = BatchDataset(Niceness(), make, BLOCK, REUSE, 2.0, 1, [DatasetPosition(0, 0)])
    batch = next(iter(load_batches(dataset, 1)))
    assert set(indices(batch, make)) == {min(19, os.nice(0) + NICENESS)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_worker_without_an_error(
    make: ExampleMaker, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    before = set(multiprocessing.active_children())
    batches = iter(load_batches(dataset_of(make), 1))
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    assert worker.pid is not None
    os.kill(worker.pid, number)
    worker.join(timeout=20)
    assert worker.exitcode == 0
    assert capfd.readouterr().err == ""


def test_each_use_of_an_utterance_has_a_speed_of_its_own(make: ExampleMaker) -> None:
    class Same(Counting):
        def utterance(self, index: int) -> Utterance:
            return counted(0)

    dataset = BatchDataset(
        Same(), make, 60, 1, 2.0, 5, [DatasetPosition(0, 0)], speeds=(0.5, 1.0, 2.0)
    )
    lengths = Counter(len(example.frames) for example in dataset._block(0))
    assert len(lengths) == 3 and min(lengths.values()) > 8
