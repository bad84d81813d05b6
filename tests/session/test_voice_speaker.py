"""Speech of a voice: every word once, whatever the cut and the neighbours, without clicks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from espeak_needed import needs_espeak
from spoken import cut, run, run_batch, wave
from test_speech import METHODS
from tiny_model import SAMPLE_RATE, TARGET_TEXT, babble, make_model_folder
from tiny_speech import make_speaking_folder
from tiny_voice import make_voice_folder

from echostream.model_folder import Model, load_model
from echostream.session.settings import SessionSettings
from echostream.session.speech_queue import (
    GROUP_SAMPLES,
    MAX_BACKLOG,
    SpeechQueue,
    speak_group,
    speak_text,
)
from echostream.session.translator import StreamingTranslator, joined_text
from echostream.session.voice_speaker import VoiceSpeaker, trim
from echostream.session_config import SessionConfig
from echostream.voices.make import make_voice
from echostream.voices.voice import Speech, Voice

pytestmark = needs_espeak


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """A model of text alone with a voice, and one with units and a voice."""
    voice = make_voice_folder(tmp_path_factory.mktemp("voice"))
    text = make_model_folder(tmp_path_factory.mktemp("text"), decoder_layers=1)
    units = make_speaking_folder(tmp_path_factory.mktemp("units"))
    return {
        name: load_model(folder, voice=f"piper:{voice}")
        for name, folder in (("text", text), ("units", units))
    }


@pytest.fixture
def model(models: dict[str, Model]) -> Model:
    return models["text"]


class Listed:
    """A voice that also lists the texts that it speaks."""

    def __init__(self, voice: Voice | None) -> None:
        assert voice is not None
        self.voice = voice
        self.said: list[tuple[str, float]] = []

    def speak(self, text: str, speed: float = 1.0) -> Speech:
        self.said.append((text, speed))
        return self.voice.speak(text, speed)

    @property
    def text(self) -> str:
        return " ".join(text.removesuffix(",") for text, _ in self.said)


def listed(model: Model) -> tuple[Model, Listed]:
    voice = Listed(model.voice)
    return dataclasses.replace(model, voice=voice), voice


def groups(
    model: Model, tokens: Sequence[Sequence[int]], ends: Sequence[bool]
) -> Iterator[tuple[SpeechQueue, SpeechQueue]]:
    """The queue before and after each group with its committed tokens."""
    speaker = SessionSettings(model, SessionConfig(speech=True)).speaker
    assert speaker is not None
    queue = SpeechQueue()
    for new, end in zip(tokens, ends, strict=True):
        before = dataclasses.replace(queue, samples=())
        (queue,), _ = speak_group(speaker, [before], [new], [end], ())
        yield before, queue


def words_of(model: Model, number: int) -> list[list[int]]:
    """The tokens of so many words."""
    words = " ".join(TARGET_TEXT).split()[:number]
    return [model.target_tokenizer.encode(word) for word in words]


def joined(words: Sequence[Sequence[int]]) -> list[int]:
    return [token for word in words for token in word]


@pytest.mark.parametrize("method", METHODS)
def test_the_samples_do_not_depend_on_the_cut_of_the_source(model: Model, method: str) -> None:
    samples = babble(9, seed=3)
    samples[40_000:70_000] = 0  # a pause of more than 640 ms
    whole = run(model, [samples], decoding_method=method)
    assert len(wave(whole)) > 4000
    for sizes in ([160], [5120], [1, 2559, 2561, 9000, 17]):
        pieces = run(model, cut(samples, sizes), decoding_method=method)
        np.testing.assert_array_equal(wave(pieces), wave(whole))
        assert joined_text(pieces) == joined_text(whole)


def test_streams_of_a_batch_speak_as_if_alone(model: Model) -> None:
    recordings = [babble(seconds, seed) for seed, seconds in enumerate((3.0, 5.3, 0.1, 7.0))]
    for samples, outputs in zip(recordings, run_batch(model, recordings), strict=True):
        np.testing.assert_array_equal(wave(outputs), wave(run(model, cut(samples, [4000]))))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["text", "units"])
def test_every_word_is_spoken_once_and_in_order(
    models: dict[str, Model], kind: str, method: str
) -> None:
    model, voice = listed(models[kind])
    outputs = run(model, cut(babble(9, seed=5), [5120]), decoding_method=method)
    assert voice.said and voice.said[-1][0][-1] != ","
    spoken = [text for text, speed in voice.said if speed != 1.25]  # else it was said before
    assert " ".join(" ".join(spoken).replace(",", "").split()) == joined_text(outputs)
    assert not any(output.units for output in outputs)


def test_speech_changes_no_word_and_no_delay(model: Model) -> None:
    pieces = cut(babble(9, seed=4), [5120])
    session = StreamingTranslator(model)
    silent = [o for piece in pieces for o in session.push(piece, SAMPLE_RATE)] + session.finish()
    speaking = [output for output in run(model, pieces) if output.words]
    assert [(o.words, o.delay_ms) for o in speaking] == [(o.words, o.delay_ms) for o in silent]


def test_words_wait_only_while_the_player_does_not_run_dry(model: Model) -> None:
    model, voice = listed(model)
    words = words_of(model, 30)
    num_waited = 0
    for before, after in groups(model, words, [False] * len(words)):
        if before.waiting and after.samples:
            num_waited += 1
            assert before.end >= after.clock  # without a gap
        left = before.end - after.clock  # when it is decided
        assert bool(after.waiting) <= (left > GROUP_SAMPLES) <= (not after.samples)
    assert num_waited > 1
    assert max(len(text.split()) for text, _ in voice.said) > 1


def test_words_that_wait_are_spoken_when_the_text_ends(model: Model) -> None:
    words = words_of(model, 6)
    tokens = [joined(words[:3]), joined(words[3:5]), words[5], []]
    queues = [after for _, after in groups(model, tokens, [False, False, False, True])]
    assert queues[2].waiting and queues[2].backlog > GROUP_SAMPLES
    assert queues[3].samples and not queues[3].waiting and not queues[3].unfinished


def test_words_are_shorter_when_the_backlog_would_be_more_than_a_second(model: Model) -> None:
    many = joined(words_of(model, 25))
    ((_, after),) = groups(model, [many], [True])
    speaker = VoiceSpeaker(Listed(model.voice), model.target_tokenizer, "word")
    unhurried = speak_text(speaker, model.target_tokenizer.decode(many))
    assert after.longest_backlog > MAX_BACKLOG
    assert 0.75 * len(unhurried) < len(after.samples[0]) < 0.9 * len(unhurried)


def test_a_word_alone_takes_longer_than_among_others(model: Model) -> None:
    model, voice = listed(model)
    first, second = words_of(model, 2)
    list(groups(model, [joined([first, second])], [True]))
    list(groups(model, [first], [True]))
    assert [speed for _, speed in voice.said] == [1.0, 0.9]


def test_what_is_not_pronounced_has_no_samples(model: Model) -> None:
    unknown = [1, 1]
    ((_, after),) = groups(model, [unknown], [True])
    assert not after.samples and not after.waiting and after.end == 0


@pytest.mark.parametrize("silence", [0, 79, 480, 4001])
@pytest.mark.parametrize("length", [1, 80, 799, 5000])
def test_silence_at_the_ends_is_trimmed_without_a_click(silence: int, length: int) -> None:
    tone = 0.5 * np.sin(0.3 * np.arange(1, length + 1)).astype(np.float32)
    quiet = np.full(silence, 1e-5, np.float32)
    kept = trim(np.concatenate([quiet, tone, quiet]))
    assert len(kept) <= length + 2 * min(silence, 560)
    assert len(kept) >= length
    assert kept[0] == kept[-1] == 0
    for end in (kept, kept[::-1]):  # fades over 5 ms
        ramp = np.linspace(0, 0.5, 80)[: len(kept)]
        assert (np.abs(end[: len(ramp)]) <= ramp + 1e-7).all()
    if silence >= 560:  # what fades is not the tone
        start = int(np.argmax(np.abs(kept) > 2e-5))
        np.testing.assert_array_equal(kept[start : start + length], tone)


@pytest.mark.parametrize("length", [0, 1, 80, 5000])
def test_of_silence_nothing_is_left(length: int) -> None:
    assert len(trim(np.zeros(length, np.float32))) == 0


def test_a_voice_of_another_rate_is_resampled(model: Model, tmp_path: Path) -> None:
    # The tiny voice has the same samples at any rate: its speech lasts as their number says. Of
    # both silences, a hop or two of it, up to 60 ms are kept.
    for rate in (8000, 16_000, 44_100):
        folder = make_voice_folder(tmp_path / str(rate), audio={"sample_rate": rate})
        voice = make_voice(f"piper:{folder}")
        speaker = VoiceSpeaker(voice, model.target_tokenizer, "word")
        seconds = len(speak_text(speaker, "the black cat")) / SAMPLE_RATE
        whole = len(voice.speak("the black cat").samples) / rate
        assert whole - 12 * 256 / rate <= seconds <= whole + 1 / SAMPLE_RATE


def test_espeak_speaks_behind_the_same_queue(folder: Path) -> None:
    model = load_model(folder, voice="espeak:en-us")
    whole = run(model, [babble(4, seed=2)])
    assert len(wave(whole)) > 4000
    np.testing.assert_array_equal(wave(run(model, cut(babble(4, seed=2), [3000]))), wave(whole))


def test_a_voice_does_not_speak_for_recognition_and_has_nothing_to_refine(model: Model) -> None:
    with pytest.raises(ValueError, match="`speech` needs the task st"):
        StreamingTranslator(model, speech=True, task="asr")
    with pytest.raises(ValueError, match="`refine_steps` must be 0 with a voice, but is 2"):
        StreamingTranslator(model, speech=True, refine_steps=2)
