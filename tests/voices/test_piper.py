"""Piper voices: repeatable speech with word times, and one error for what cannot speak."""

from __future__ import annotations

import json
import logging
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from espeak_needed import needs_espeak
from tiny_voice import FRAME, SYMBOLS, make_voice_folder

from echostream.extras import how_to_install
from echostream.voices import piper
from echostream.voices.make import make_voice
from echostream.voices.piper import PiperVoice
from echostream.voices.voice import VoiceError

pytestmark = needs_espeak

TEXT = "the black cat sleeps, and the dog eats in the street"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_voice_folder(tmp_path_factory.mktemp("voice"))


def test_the_same_text_gives_the_same_samples_also_from_a_pickled_copy(folder: Path) -> None:
    voice = PiperVoice(folder)
    first = voice.speak(TEXT)
    assert len(first.samples) > 1000 and first.sample_rate == 22_050
    assert first.samples.dtype == np.float32
    voice.speak("other words")
    copy: PiperVoice = pickle.loads(pickle.dumps(voice))
    for speech in (voice.speak(TEXT), copy.speak(TEXT)):
        np.testing.assert_array_equal(speech.samples, first.samples)


def test_speed_divides_the_durations_of_phonemes(folder: Path) -> None:
    voice = PiperVoice(folder)
    # One sound and four, each with a pad; mark, space and full stop with their pads; the last mark.
    num_sounds, num_others = 5, 5 + 6 + 1
    for speed in (0.5, 1.0, 2.0):
        frames = num_sounds * np.ceil(5.75 / speed) + num_others * np.ceil(0.75 / speed)
        assert len(voice.speak("a cat", speed).samples) == frames * FRAME


@pytest.mark.parametrize("text", [TEXT, "of the house", "a", "a cat", "... a ⁇ b", "cat — dog"])
def test_each_word_ends_where_the_next_begins_and_the_last_with_the_audio(
    folder: Path, text: str
) -> None:
    speech = PiperVoice(folder, word_times=True).speak(text)
    ends = np.array(speech.word_ends)
    if text == "a cat":  # the mark at the beginning, a sound and a space, with a pad after each
        assert ends[0] == pytest.approx((1 + 1 + 6 + 1 + 1 + 1) * FRAME / speech.sample_rate)
    assert len(ends) == len(text.split())
    assert (np.diff(ends, prepend=0) >= 0).all()
    assert ends[-1] == pytest.approx(len(speech.samples) / speech.sample_rate)
    assert PiperVoice(folder).speak(text).word_ends == ()


@pytest.mark.parametrize("text", ["...", "⁇", ", ,", "—"])
def test_a_text_without_sounds_has_no_samples(folder: Path, text: str) -> None:
    assert len(PiperVoice(folder).speak(text).samples) == 0


def test_the_first_of_several_speakers_speaks(folder: Path, tmp_path: Path) -> None:
    several = PiperVoice(make_voice_folder(tmp_path, speakers=3))
    np.testing.assert_allclose(several.speak("a").samples, PiperVoice(folder).speak("a").samples)


def test_the_log_names_the_language(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        make_voice(f"piper:{folder}")
    assert "voice tiny, which pronounces as en-us" in caplog.text


def test_the_packaged_voice_speaks_like_its_folder() -> None:
    pytest.importorskip(piper.PACKAGED_VOICE)
    voice = make_voice("piper")
    speech = voice.speak("we want to leave")
    assert 0.5 < len(speech.samples) / speech.sample_rate < 2
    assert 0.1 < np.abs(speech.samples).max() <= 1
    fast = voice.speak("we want to leave", 1.25)
    assert 0.7 < len(fast.samples) / len(speech.samples) < 0.9
    assert isinstance(voice, PiperVoice)
    again = make_voice(f"piper:{voice.folder}", word_times=True).speak("we want to leave")
    np.testing.assert_array_equal(again.samples, speech.samples)
    assert len(again.word_ends) == 4
    assert len(voice.speak("...").samples) == 0


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "tiny.onnx.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    change(settings)
    path.write_text(json.dumps(settings), encoding="utf-8")


def other_network(folder: Path) -> None:
    model = onnx.load(folder / "tiny.onnx")
    model.graph.input[0].name = "text"
    model.graph.node[0].input[0] = "text"
    onnx.save(model, folder / "tiny.onnx")


def not_a_number(folder: Path) -> None:
    model = onnx.load(folder / "tiny.onnx")
    for value in model.graph.initializer:
        if value.name == "loudness":
            wrong = np.full(len(SYMBOLS), np.nan, np.float32)
            value.CopyFrom(onnx.numpy_helper.from_array(wrong, "loudness"))
    onnx.save(model, folder / "tiny.onnx")


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def settings(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder, lambda found: found.update(changes))


CONFIG = "tiny.onnx.json"
NO_CONFIG = "is not the configuration of a Piper voice"
FAULTS = [
    (remove("tiny.onnx"), "must be a folder with one Piper voice .* has 0 files"),
    (write("b.onnx", ""), "must be a folder with one Piper voice .* has 2 files"),
    (remove(CONFIG), r"tiny.onnx.json cannot be read"),
    (write(CONFIG, "{"), r"tiny.onnx.json cannot be read"),
    (write(CONFIG, "[" * 100_000), r"tiny.onnx.json cannot be read"),
    (write(CONFIG, "[]"), "must hold a mapping"),
    (write(CONFIG, "{}"), NO_CONFIG),
    (settings(audio=[]), NO_CONFIG),
    (settings(phoneme_id_map=[]), NO_CONFIG),
    (settings(phoneme_id_map={"_": []}), NO_CONFIG),
    (settings(phoneme_id_map={"a": [3]}), r"`phoneme_id_map` lacks \[' ', '\$', '\^', '_'\]"),
    (settings(audio={"sample_rate": 0}), "`sample_rate` must be from 1000 to 768000 Hz, but is 0"),
    (settings(audio={"sample_rate": 1e400}), NO_CONFIG),
    (settings(phoneme_type="pinyin"), "`phoneme_type` must be espeak.* but is 'pinyin'"),
    (settings(espeak={"voice": "xx"}), "espeak-ng has no voice `xx`"),
    (write("tiny.onnx", "not a graph"), "tiny.onnx cannot be loaded"),
    (other_network, "tiny.onnx cannot be computed"),
    (not_a_number, "tiny.onnx gives samples that are no numbers"),
]


@pytest.mark.parametrize("word_times", [False, True])
@pytest.mark.parametrize(("fault", "message"), FAULTS)
def test_a_voice_that_cannot_speak_is_refused_when_it_is_loaded(
    tmp_path: Path, fault: Callable[[Path], None], message: str, word_times: bool
) -> None:
    fault(make_voice_folder(tmp_path))
    with pytest.raises(VoiceError, match=message) as caught:
        make_voice(f"piper:{tmp_path}", word_times)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "joe", "festival:joe", "Piper"])
def test_another_name_of_a_voice_is_refused(name: str) -> None:
    with pytest.raises(VoiceError, match="must be piper, piper:FOLDER, espeak:LANGUAGE"):
        make_voice(name)


def test_an_unknown_language_of_espeak_is_refused() -> None:
    with pytest.raises(VoiceError, match=r"the voice espeak:xx cannot be used: .* no voice `xx`"):
        make_voice("espeak:xx")


@pytest.mark.parametrize(
    ("library", "extra", "word_times"),
    [("onnxruntime", "voices", False), ("onnxruntime", "voices", True), ("onnx", "corpus", True)],
)
def test_a_missing_library_is_named_with_its_extra(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    library: str,
    extra: str,
    word_times: bool,
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(VoiceError, match=r"needs .*onnxruntime") as caught:
        make_voice(f"piper:{folder}", word_times)
    assert how_to_install(extra) in str(caught.value)


def test_the_packaged_voice_is_named_with_its_extra_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(piper, "PACKAGED_VOICE", "no_such_voice")
    with pytest.raises(VoiceError, match="no-such-voice is not installed") as caught:
        make_voice("piper")
    assert how_to_install("voices") in str(caught.value)


@pytest.mark.parametrize("text", ["", " "])
def test_a_text_without_a_word_is_refused(folder: Path, text: str) -> None:
    with pytest.raises(ValueError, match="at least one word"):
        PiperVoice(folder).speak(text)


@pytest.mark.parametrize("speed", [0, 0.4, 2.1, float("nan")])
def test_a_speed_out_of_range_is_refused(folder: Path, speed: float) -> None:
    with pytest.raises(ValueError, match=r"`speed` must be 0\.5 to 2"):
        PiperVoice(folder).speak("a", speed)
