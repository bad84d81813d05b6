"""Synthetic speech: splits that share nothing, items that depend on their index alone."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest
from espeak_needed import needs_espeak

from echostream.data.synthetic.augment import TRAIN_VARIATION, Rendering, render
from echostream.data.synthetic.grammar import Grammar
from echostream.data.synthetic.speech import (
    SPLITS,
    TRAIN_VOICES,
    UNSEEN_VOICES,
    Split,
    SyntheticSpeech,
    sentence_split,
)
from echostream.data.utterance import Utterance

RATE = 16_000


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar.load()


def same(first: Utterance, second: Utterance) -> bool:
    return np.array_equal(first.samples, second.samples) and all(
        getattr(first, name) == getattr(second, name)
        for name in ("id", "source", "target", "voice", "word_ends")
    )


def make_item(index: int) -> Utterance:
    return SyntheticSpeech(Grammar.load(), seed=5).utterance(index)


@needs_espeak
def test_an_item_depends_on_its_index_alone(grammar: Grammar) -> None:
    speech = SyntheticSpeech(grammar, seed=5)
    forward = [speech.utterance(index) for index in range(12)]
    backward = [speech.utterance(index) for index in reversed(range(12))][::-1]
    assert all(map(same, forward, backward))


@needs_espeak
def test_another_process_makes_the_same_item(grammar: Grammar) -> None:
    here = [SyntheticSpeech(grammar, seed=5).utterance(index) for index in range(4)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert all(map(same, here, pool.map(make_item, range(4))))


def test_items_differ_by_seed_split_and_index(grammar: Grammar) -> None:
    def texts(seed: int, split: Split) -> list[str]:
        speech = SyntheticSpeech(grammar, seed=seed, split=split)
        return [speech.pair(index).source for index in range(40)]

    assert texts(0, "train") != texts(1, "train")
    assert texts(0, "test-seen") != texts(0, "test-unseen")
    assert len(set(texts(0, "train"))) > 30


def test_no_sentence_is_in_two_splits(grammar: Grammar) -> None:
    sentences = {}
    for split in SPLITS:
        speech = SyntheticSpeech(grammar, split=split)
        sentences[split] = {speech.pair(index).source for index in range(600)}
    tests = sentences["test-seen"] | sentences["test-unseen"]
    assert sentences["train"].isdisjoint(tests | sentences["dev"])
    assert sentences["dev"].isdisjoint(tests)


def test_the_split_of_a_sentence_is_fixed_for_ever() -> None:
    # Values of this very function when the corpus was made: a change would leak test into train.
    known = {
        "il est midi": "train",
        "je vais à la gare": "train",
        "où est le musée": "train",
    }
    assert {source: sentence_split(source) for source in known} == known


def test_test_and_dev_have_their_shares(grammar: Grammar) -> None:
    names = [sentence_split(f"phrase {number}") for number in range(20_000)]
    assert names.count("test") / len(names) == pytest.approx(0.04, abs=0.005)
    assert names.count("dev") / len(names) == pytest.approx(0.02, abs=0.004)


def test_no_test_voice_is_trained() -> None:
    assert set(TRAIN_VOICES).isdisjoint(UNSEEN_VOICES)
    assert len(TRAIN_VOICES) >= 12


@needs_espeak
@pytest.mark.parametrize("split", SPLITS)
def test_utterances_are_16_khz_speech_with_word_ends_inside(grammar: Grammar, split: Split) -> None:
    speech = SyntheticSpeech(grammar, split=split)
    for index in range(25):
        item = speech.utterance(index)
        seconds = item.samples.size / RATE
        assert item.samples.dtype == np.float32
        assert np.abs(item.samples).max() <= 1.0
        assert 0.8 < seconds < 9.0
        assert len(item.word_ends) == len(item.source.split())
        assert np.all(np.diff((0.0, *item.word_ends)) > 0)
        assert item.word_ends[-1] < seconds
        assert (item.source, item.target) == tuple(speech.pair(index))


@needs_espeak
def test_word_ends_follow_speed_and_silence(grammar: Grammar) -> None:
    # The word times are right: loud before the last end, faint after it.
    speech = SyntheticSpeech(grammar, seed=3)
    for index in range(25):
        item = speech.utterance(index)
        end = round(item.word_ends[-1] * RATE)
        speech_level = np.sqrt(np.mean(np.square(item.samples[:end])))
        after = np.sqrt(np.mean(np.square(item.samples[end + 160 :])))
        assert after < 0.3 * speech_level
        last_word = item.samples[round(item.word_ends[-2] * RATE) : end]
        assert np.sqrt(np.mean(np.square(last_word))) > 2 * after


def rendering(**changes: object) -> Rendering:
    plain: dict[str, object] = {
        "rate_wpm": 170, "pitch": 50, "speed": 1.0, "gain_db": 0.0, "noise": "none",
        "snr_db": 20.0, "silence_before_ms": 0.0, "silence_after_ms": 0.0, "noise_seed": 1,
    }  # fmt: skip
    return Rendering(**{**plain, **changes})  # type: ignore[arg-type]


def tone() -> np.ndarray:
    return (0.5 * np.sin(np.arange(RATE) * 0.3)).astype(np.float32)


def test_a_plain_rendering_changes_nothing() -> None:
    samples, shift = render(tone(), rendering(), RATE)
    np.testing.assert_array_equal(samples, tone())
    assert shift == 0


def test_silence_is_put_round_the_speech() -> None:
    samples, shift = render(
        tone(), rendering(silence_before_ms=100.0, silence_after_ms=250.0), RATE
    )
    assert shift == 0.1
    assert samples.size == RATE + 1600 + 4000
    np.testing.assert_array_equal(samples[1600 : 1600 + RATE], tone())
    assert not samples[:1600].any() and not samples[-4000:].any()


def test_gain_is_in_decibels() -> None:
    samples, _ = render(tone(), rendering(gain_db=-20.0), RATE)
    np.testing.assert_allclose(samples, tone() / 10, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("noise", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [15.0, 40.0])
def test_noise_has_the_stated_level(noise: str, snr_db: float) -> None:
    samples, _ = render(tone(), rendering(noise=noise, snr_db=snr_db, gain_db=-6.0), RATE)
    clean, _ = render(tone(), rendering(gain_db=-6.0), RATE)
    ratio = np.mean(np.square(clean)) / np.mean(np.square(samples - clean))
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.3)


def test_pink_noise_falls_with_frequency_and_white_does_not() -> None:
    def slope(noise: str) -> float:
        samples, _ = render(tone(), rendering(noise=noise, snr_db=0.0, gain_db=-20.0), RATE)
        clean, _ = render(tone(), rendering(gain_db=-20.0), RATE)
        power = np.abs(np.fft.rfft(samples - clean)) ** 2
        low, high = power[500:1000].mean(), power[5000:7000].mean()
        return float(10 * np.log10(low / high))

    assert slope("pink") == pytest.approx(9.0, abs=1.5)  # 3 dB an octave, three octaves
    assert slope("white") == pytest.approx(0.0, abs=1.0)


@needs_espeak
def test_training_varies_more_than_tests(grammar: Grammar) -> None:
    def spread(split: Split) -> float:
        speech = SyntheticSpeech(grammar, split=split)
        return float(np.std([np.log(np.std(speech.utterance(i).samples)) for i in range(40)]))

    assert spread("train") > spread("dev")


def test_the_ranges_of_training_are_those_documented() -> None:
    assert TRAIN_VARIATION.speed == (0.9, 1.1)
    assert TRAIN_VARIATION.rate_wpm == (120, 220)


def test_wrong_arguments_are_named(grammar: Grammar) -> None:
    with pytest.raises(ValueError, match=r"`split`.*'test'"):
        SyntheticSpeech(grammar, split="test")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`voices`"):
        SyntheticSpeech(grammar, voices=())
    with pytest.raises(ValueError, match=r"`index`.*-1"):
        SyntheticSpeech(grammar).pair(-1)
