"""Sounds that are not speech, the volume of an utterance, and both in the dataset."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from words import word_example_maker

from echostream.config import ConfigError, from_dict
from echostream.data.synthetic.nonspeech import nonspeech
from echostream.data.utterance import Utterance
from echostream.training.augment import change_volume
from echostream.training.batch import Batch, DatasetPosition
from echostream.training.config import AugmentConfig, DataConfig
from echostream.training.dataset import BatchDataset
from echostream.training.example import ExampleMaker
from echostream.training.loader import load_batches

RATE = 16_000
KINDS = {"silence", "noise", "bursts", "tone", "clicks", "chords", "melody", "music"}


@pytest.fixture(scope="module")
def sounds() -> list[Utterance]:
    rng = np.random.default_rng(3)
    return [nonspeech(rng) for _ in range(80)]


def test_the_same_seed_gives_the_same_sounds_and_another_does_not(sounds: list[Utterance]) -> None:
    rng, other = np.random.default_rng(3), np.random.default_rng(4)
    for sound in sounds[:12]:
        again, differs = nonspeech(rng), nonspeech(other)
        assert again.id == sound.id
        np.testing.assert_array_equal(again.samples, sound.samples)
        assert len(differs.samples) != len(sound.samples)


def test_sounds_are_finite_within_full_scale_of_their_length_and_without_words(
    sounds: list[Utterance],
) -> None:
    for sound in sounds:
        assert sound.samples.dtype == np.float32
        assert 0.5 * RATE - 1 <= len(sound.samples) <= 6 * RATE
        assert np.isfinite(sound.samples).all() and np.abs(sound.samples).max() <= 1
        assert (sound.source, sound.target, sound.word_ends) == ("", "", ())


def test_all_kinds_occur_and_music_most(sounds: list[Utterance]) -> None:
    count = Counter(sound.id for sound in sounds)
    assert set(count) == KINDS
    assert count["chords"] + count["melody"] + count["music"] > len(sounds) / 3


def test_silence_is_silent_or_the_hiss_of_a_microphone(sounds: list[Utterance]) -> None:
    peaks = [np.abs(sound.samples).max() for sound in sounds if sound.id == "silence"]
    assert min(peaks) == 0 and max(peaks) < 0.1


def speech(samples: list[float]) -> Utterance:
    return Utterance("u", np.array(samples, np.float32), "un", "one", "v", (0.1,))


def test_a_gain_of_0_db_leaves_the_samples_as_they_are() -> None:
    item = speech([0.1, 1e-9, -1.5, 0.3333333])
    assert change_volume(item, 0.0) is item


def test_a_gain_is_in_decibels_rounds_to_16_bits_and_clips() -> None:
    item = speech([0.5, -0.5, 0.1, 1e-4, -1.0, 0.0])
    quieter, louder = change_volume(item, -20.0), change_volume(item, 12.0)
    whole = np.array([1638, -1638, 328, 0, -3277, 0])  # of 32768ths, by hand
    np.testing.assert_array_equal(quieter.samples * 32768, whole)
    np.testing.assert_array_equal(louder.samples[[0, 1, 4]], [1, -1, -1])
    np.testing.assert_allclose(louder.samples[2], 0.39811, atol=1 / 65536)
    assert quieter.samples.dtype == louder.samples.dtype == np.float32
    assert (louder.id, louder.source, louder.target, louder.word_ends) == ("u", "un", "one", (0.1,))


def test_a_quiet_recording_loses_its_last_bits_and_then_all() -> None:
    rng = np.random.default_rng(0)
    item = speech(list(0.1 * rng.standard_normal(1000)))
    assert len(np.unique(change_volume(item, -60).samples)) < 30
    assert not change_volume(item, -96).samples.any()


class Numbered:
    """Noise of 0.6 s whose text is its index in one word."""

    def utterance(self, index: int) -> Utterance:
        rng = np.random.default_rng(index)
        samples = rng.normal(0, 0.1, RATE * 6 // 10).astype(np.float32)
        return Utterance(str(index), samples, f"w{index % 400}", f"w{index % 400}", "noise")


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> ExampleMaker:
    return word_example_maker([f"w{n}" for n in range(400)], tmp_path_factory.mktemp("spm"))


def dataset_of(
    make: ExampleMaker,
    probability: float,
    gain_db: tuple[float, float] = (0.0, 0.0),
    positions: list[DatasetPosition] | None = None,
    block_size: int = 8,
    concat: float = 0.5,
    first_lane: int = 0,
) -> BatchDataset:
    return BatchDataset(
        Numbered(),
        make,
        block_size=block_size,
        reuse=2,
        batch_seconds=6.0,
        seed=1,
        positions=positions or [DatasetPosition(0, 0)],
        first_lane=first_lane,
        concat_probability=concat,
        concat_utterances=3,
        nonspeech_probability=probability,
        gain_db=gain_db,
    )


def assert_same(found: Batch, expected: Batch) -> None:
    for name, a, b in zip(Batch._fields, found, expected, strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b)), f"`{name}` differs"


def test_from_every_position_the_dataset_goes_on_with_the_batches_that_would_have_come(
    make: ExampleMaker,
) -> None:
    whole = list(islice(dataset_of(make, 0.4, (-30, 12)), 9))
    for number, batch in enumerate(whole[:-2]):
        resumed = islice(dataset_of(make, 0.4, (-30, 12), [batch.next_position]), 2)
        for found, expected in zip(resumed, whole[number + 1 :], strict=False):
            assert_same(found, expected)


def test_two_workers_go_on_with_the_batches_that_would_have_come(make: ExampleMaker) -> None:
    positions = [DatasetPosition(0, 0)] * 2
    whole = list(islice(load_batches(dataset_of(make, 0.4, (-30, 12), positions), 2), 8))
    for batch in whole[:5]:
        positions[batch.lane] = batch.next_position
    resumed = load_batches(dataset_of(make, 0.4, (-30, 12), positions, first_lane=1), 2)
    for found, expected in zip(islice(resumed, 3), whole[5:], strict=True):
        assert_same(found, expected)


def test_without_other_sounds_and_gains_the_batches_are_those_without_either_setting(
    make: ExampleMaker,
) -> None:
    plain = BatchDataset(
        Numbered(),
        make,
        8,
        2,
        6.0,
        1,
        [DatasetPosition(0, 0)],
        concat_probability=0.5,
        concat_utterances=3,
    )
    for found, expected in zip(islice(dataset_of(make, 0.0), 8), islice(plain, 8), strict=True):
        assert_same(found, expected)


@pytest.mark.parametrize("probability", [0.2, 1.0])
def test_other_sounds_are_as_frequent_as_configured_and_speech_keeps_its_order(
    make: ExampleMaker, probability: float
) -> None:
    size = 120 if probability < 1 else 30
    dataset = dataset_of(make, probability, block_size=size, concat=0.0)
    texts = [make.target_tokenizer.decode(example.target) for example in dataset._block(0)]
    assert [text for text in texts if text] == [f"w{number}" for number in range(size)]
    share = texts.count("") / size
    assert share == pytest.approx(probability, abs=0.1 if probability < 1 else 0)
    if probability == 1:
        assert texts[1::2] == [""] * size  # each after its utterance


def test_concatenated_with_other_sounds_the_words_keep_their_order(make: ExampleMaker) -> None:
    examples = list(dataset_of(make, 0.5, block_size=60, concat=1.0)._block(0))
    words = [w for e in examples for w in make.target_tokenizer.decode(e.target).split()]
    assert words == [f"w{number}" for number in range(60)]
    assert all(len(example.frames) >= 16 for example in examples)


def test_each_utterance_has_a_volume_of_its_own(make: ExampleMaker) -> None:
    dataset = dataset_of(make, 0.0, (-40, 0), block_size=40, concat=0.0)
    levels = [float(example.frames.mean()) for example in dataset._block(0)]
    plain = [
        float(e.frames.mean()) for e in dataset_of(make, 0.0, block_size=40, concat=0.0)._block(0)
    ]
    drops = np.array(plain) - np.array(levels)
    assert drops.std() > 1 and drops.min() > -0.1 and drops.max() < np.log(10**4) + 0.5


@pytest.mark.parametrize(
    "gain_db",
    [(0.0,), (0.0, 1.0, 2.0), (3.0, -3.0), (-97.0, 0.0), (0.0, 49.0), (float("nan"), 0.0)],
)
def test_gains_that_cannot_be_are_named(gain_db: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"`augment.gain_db` must be two numbers of decibels"):
        AugmentConfig(gain_db=gain_db)  # type: ignore[arg-type]


def test_gains_are_read_from_whole_numbers_too() -> None:
    assert from_dict(AugmentConfig, {"gain_db": [-36, 12]}).gain_db == (-36.0, 12.0)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_probability_of_other_sounds_that_cannot_be_is_named(probability: float) -> None:
    with pytest.raises(ConfigError, match=r"`data.nonspeech_probability` must be at"):
        DataConfig(nonspeech_probability=probability)
