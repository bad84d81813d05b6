"""Rooms, noise and telephones: against slow references; the defaults change nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_training import tiny_run

from echostream.config import ConfigError, load_config
from echostream.data.utterance import Utterance
from echostream.training.acoustics import (
    Acoustics,
    add_noise,
    impulse_response,
    reverberate,
    telephone_band,
)
from echostream.training.config import AugmentConfig

RATE = 16_000
ALL = Acoustics(1.0, (0.2, 0.4), 1.0, (10.0, 20.0), 1.0)


def speech(count: int = 4000, level: float = 0.1) -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    return (level * rng.standard_normal(count)).clip(-1, 1).astype(np.float32)


def utterance(samples: NDArray[np.float32]) -> Utterance:
    return Utterance("a", samples, "un deux", "one two", "v", (0.1, 0.2))


def power(samples: NDArray[np.floating]) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def test_the_defaults_change_no_sample_of_any_utterance(tmp_path: Path) -> None:
    one = utterance(speech())
    for seed in range(20):
        assert AugmentConfig().acoustics(one, np.random.default_rng(seed)) is one
    assert tiny_run(tmp_path).augment.acoustics == Acoustics()


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 30.0])
@pytest.mark.parametrize("kind", ["white", "pink"])
@pytest.mark.parametrize("count", [2, 100, 4096, 5000])
def test_noise_has_the_ratio_that_was_asked_for(kind: str, snr_db: float, count: int) -> None:
    clean = speech(count)
    noise = add_noise(clean, kind, snr_db, 7).astype(np.float64) - clean  # type: ignore[arg-type]
    assert 10 * np.log10(power(clean) / power(noise)) == pytest.approx(snr_db, abs=0.1)


def test_noise_in_digital_silence_is_silence() -> None:
    assert not add_noise(np.zeros(100, np.float32), "pink", 10.0, 1).any()
    assert not len(add_noise(np.zeros(0, np.float32), "white", 10.0, 1))
    assert add_noise(np.ones(1, np.float32), "pink", 10.0, 1) == 1  # it has no sample of noise


@pytest.mark.parametrize("t60", [0.02, 0.1, 0.7])
@pytest.mark.parametrize("direct_db", [0.0, 9.0])
def test_reflections_decay_by_60_db_in_t60_and_have_the_energy_that_was_asked_for(
    t60: float, direct_db: float
) -> None:
    response = impulse_response(t60, direct_db, np.random.default_rng(1)).astype(np.float64)
    assert response[0] == 1 and not response[1:40].any()
    assert 10 * np.log10(1 / np.sum(response[1:] ** 2)) == pytest.approx(direct_db, abs=0.01)
    # The mean over many rooms falls along a line in decibels; here from a tenth to nine tenths.
    rooms = [impulse_response(t60, direct_db, np.random.default_rng(n)) for n in range(200)]
    mean = np.mean(np.square(rooms, dtype=np.float64), axis=0)
    width = len(mean) // 10
    early, late = (
        10 * np.log10(mean[tenth * width : (tenth + 1) * width].mean()) for tenth in (4, 9)
    )
    assert early - late == pytest.approx(30, abs=1.5)


@pytest.mark.parametrize("count", [1, 47, 300])
def test_a_room_is_the_convolution_with_its_response_at_the_same_level(count: int) -> None:
    dry, response = speech(count), impulse_response(0.02, 3.0, np.random.default_rng(2))
    slow = np.zeros(count)
    for at in range(count):
        for delay in range(min(at + 1, len(response))):
            slow[at] += dry[at - delay] * response[delay]
    slow *= np.sqrt(power(dry) / power(slow))
    np.testing.assert_allclose(reverberate(dry, response), slow, atol=1e-6)


@pytest.mark.parametrize(
    ("hertz", "gain"), [(100, 0), (180, 0), (320, 1), (1000, 1), (3380, 1), (3850, 0), (7000, 0)]
)
def test_a_telephone_passes_300_to_3400_hz_without_delay(hertz: int, gain: float) -> None:
    time = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * hertz * time) * np.hanning(RATE)
    found = telephone_band(tone.astype(np.float32))
    np.testing.assert_allclose(found, gain * tone, atol=0.01)


def test_the_end_of_a_recording_does_not_reach_its_beginning_through_a_telephone() -> None:
    samples = np.zeros(4096, np.float32)
    samples[-1] = 1.0
    assert np.abs(telephone_band(samples)[:1000]).max() < 1e-3


@pytest.mark.parametrize("level", [0.01, 0.1, 0.9])
@pytest.mark.parametrize("count", [2, 999, 16_000])
def test_length_range_and_word_times_stay_and_no_sound_comes_later(
    level: float, count: int
) -> None:
    one = utterance(speech(count, level))
    for seed in range(5):
        found = ALL(one, np.random.default_rng(seed))
        assert found.samples.shape == one.samples.shape and found.samples.dtype == np.float32
        assert np.abs(found.samples).max() <= 1 and found.word_ends == one.word_ends
    click = np.zeros(RATE, np.float32)
    click[5000:5100] = 0.5
    for room in (ALL, dataclasses.replace(ALL, noise_probability=0.0)):
        found = room(utterance(click), np.random.default_rng(1)).samples
        before, sound = power(found[4000:4900]), power(found[5000:5100])
        assert before < 0.05 * sound


def test_it_depends_on_the_generator_alone_and_one_kind_does_not_change_another() -> None:
    one = utterance(speech())
    first, again, other = (ALL(one, np.random.default_rng(seed)).samples for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    noisy = dataclasses.replace(Acoustics(), noise_probability=1.0, snr_db=(10.0, 10.0))
    wet = dataclasses.replace(noisy, telephone_probability=1.0)
    found = [each(one, np.random.default_rng(1)).samples for each in (noisy, wet)]
    np.testing.assert_array_equal(telephone_band(found[0]), found[1])


def test_each_is_used_as_often_as_its_probability() -> None:
    one = utterance(speech(50))
    some = Acoustics(noise_probability=0.3)
    used = [some(one, np.random.default_rng(seed)) is not one for seed in range(2000)]
    assert np.mean(used) == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("room_t60: [0.5, 0.1]", "`augment.room_t60` must be two numbers of seconds"),
        ("noise_snr_db: [10]", "`augment.noise_snr_db` must be two numbers of decibels"),
        ("telephone_probability: 1.5", "`augment.telephone_probability` must be at most 1"),
        ("room_probability: -0.1", "`augment.room_probability` must be at least 0"),
    ],
)
def test_values_that_are_not_possible_are_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "augment.yaml"
    path.write_text(line)
    with pytest.raises(ConfigError, match=message):
        load_config(AugmentConfig, path)
