"""Speech out: the samples depend on the audio alone, follow the words, and have no seam."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slow_code_hifigan import random_weights, shallow_config
from spoken import assert_same_wave, cut, run, run_batch, units, wave
from tiny_model import SAMPLE_RATE, babble
from tiny_speech import NUM_UNITS, make_speaking_folder

from echostream.config import ConfigError
from echostream.model_folder import Model, ModelFolderError, load_model
from echostream.models.code_hifigan_file import load_code_hifigan
from echostream.models.unit_decoder import NextWords
from echostream.session.batch import StreamBatch
from echostream.session.settings import SessionSettings
from echostream.session.speech import GAP_UNITS, UnitSpeaker
from echostream.session.speech_queue import (
    GROUP_SAMPLES,
    MAX_BACKLOG,
    MAX_WAITING,
    SpeechQueue,
    speak_group,
    speak_rest,
)
from echostream.session.translator import StreamingTranslator, joined_text
from echostream.session_config import SessionConfig
from echostream.streaming.clock import UNIT_SAMPLES
from echostream.text.spoken_words import SpokenWord

METHODS = ("ctc", "decoder")
LONGEST_WORD = 20 * UNIT_SAMPLES
NEVER_LATE = sys.maxsize


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(make_speaking_folder(tmp_path_factory.mktemp("speaking")))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("look_ahead", [0, 1])
def test_the_samples_do_not_depend_on_the_cut_of_the_source(
    model: Model, method: str, look_ahead: int
) -> None:
    samples = babble(9, seed=3)
    samples[40_000:70_000] = 0  # a pause of more than 640 ms
    options = {"decoding_method": method, "max_future_frames": look_ahead}
    whole = run(model, [samples], **options)
    assert len(wave(whole)) > 4000
    for sizes in ([160], [5120], [1, 2559, 2561, 9000, 17]):
        pieces = run(model, cut(samples, sizes), **options)
        np.testing.assert_array_equal(wave(pieces), wave(whole))
        assert units(pieces) == units(whole)
        assert joined_text(pieces) == joined_text(whole)


@pytest.mark.parametrize("method", METHODS)
def test_speech_changes_no_word_and_no_delay(model: Model, method: str) -> None:
    pieces = cut(babble(9, seed=4), [5120])
    speaking = [o for o in run(model, pieces, decoding_method=method) if o.words]
    session = StreamingTranslator(model, decoding_method=method)
    silent = [o for piece in pieces for o in session.push(piece, SAMPLE_RATE)] + session.finish()
    assert [(o.words, o.delay_ms) for o in speaking] == [(o.words, o.delay_ms) for o in silent]
    assert not any(len(o.samples) for o in silent)


def test_each_unit_has_320_samples(model: Model) -> None:
    for output in run(model, cut(babble(6, seed=5), [2560])):
        assert len(output.samples) == UNIT_SAMPLES * len(output.units)


@pytest.mark.parametrize("method", METHODS)
def test_streams_of_a_batch_speak_as_if_alone(model: Model, method: str) -> None:
    recordings = [babble(seconds, seed) for seed, seconds in enumerate((3.0, 5.3, 0.1, 7.0))]
    found = run_batch(model, recordings, decoding_method=method)
    for samples, outputs in zip(recordings, found, strict=True):
        alone = run(model, cut(samples, [4000]), decoding_method=method)
        assert units(outputs) == units(alone)
        assert_same_wave(outputs, alone)


def groups_of_speech(
    model: Model,
    tokens: Sequence[Sequence[int]],
    ends: Sequence[bool],
    max_backlog: int = MAX_BACKLOG,
) -> tuple[list[list[int]], list[int]]:
    """The units and the backlog (samples) after each group with its committed tokens."""
    speech = SessionSettings(model, SessionConfig(speech=True)).speaker
    assert speech is not None
    queue, state = SpeechQueue(max_backlog=max_backlog), speech.init_state(1)
    found, backlogs = [], []
    with torch.inference_mode():
        for new, end in zip(tokens, ends, strict=True):
            (queue,), state = speak_group(speech, [queue], [new], [end], state)
            found.append(list(queue.units))
            backlogs.append(queue.backlog)
            queue = replace(queue, units=())
    return found, backlogs


def word_tokens(model: Model, num_words: int) -> list[int]:
    """Tokens of so many words, the last of them not complete."""
    tokenizer = model.target_tokenizer
    starts = [i for i in range(2, tokenizer.vocab_size) if tokenizer.starts_word(i)]
    return [starts[number % len(starts)] for number in range(num_words + 1)]


def test_before_a_gap_the_speech_is_closed_with_silence_once(model: Model) -> None:
    num_groups = 40
    tokens = [word_tokens(model, 3), *[[]] * (num_groups - 1)]
    found, backlogs = groups_of_speech(model, tokens, [False] * num_groups)
    assert model.speech is not None
    spoken = [group for group, units in enumerate(found) if units]
    assert len(spoken) == 2 and found[spoken[1]] == [model.speech.silence_unit] * GAP_UNITS
    # The player would run dry within this group: the silence joins the speech before it.
    assert GROUP_SAMPLES <= backlogs[spoken[1] - 1] < 2 * GROUP_SAMPLES
    gap = GAP_UNITS * UNIT_SAMPLES
    assert backlogs[spoken[1]] == backlogs[spoken[1] - 1] - GROUP_SAMPLES + gap


def test_a_text_that_ended_needs_no_silence_before_the_gap(model: Model) -> None:
    num_groups = 40
    tokens = [word_tokens(model, 3), *[[]] * (num_groups - 1)]
    found, _ = groups_of_speech(model, tokens, [True, *[False] * (num_groups - 1)])
    assert found[0] and not any(found[1:])


def test_words_are_spoken_the_faster_the_longer_the_backlog() -> None:
    speeds = [SpeechQueue(end=round(16_000 * late)).speed for late in (0, 0.4, 0.5, 0.6, 0.8, 9)]
    assert speeds == pytest.approx([1, 1, 1.0625, 1.125, 1.25, 1.25])
    assert SpeechQueue(end=160_000, max_backlog=NEVER_LATE).speed == 1


def test_many_words_at_once_are_spoken_faster(model: Model) -> None:
    groups = [word_tokens(model, 60), *[[]] * 80]
    ends = [True, *[False] * 80]
    found, _ = groups_of_speech(model, groups, ends)
    normal, _ = groups_of_speech(model, groups, ends, NEVER_LATE)
    assert not any(normal[1:])  # all at once
    assert 0.75 * len(normal[0]) < sum(map(len, found)) < 0.92 * len(normal[0])


@pytest.mark.parametrize("burst", [0, 1, 2, 9, 32])
def test_the_backlog_is_at_most_its_bound_and_no_word_is_lost(model: Model, burst: int) -> None:
    rng = np.random.default_rng(burst)
    ids = word_tokens(model, 99)
    sizes = rng.choice([0, 1, 2, burst], size=150, p=[0.8, 0.15, 0.03, 0.02])
    tokens = [rng.choice(ids, size=size).tolist() for size in sizes]
    speaker = SessionSettings(model, SessionConfig(speech=True)).speaker
    assert speaker is not None
    for bound in (MAX_BACKLOG, 5 * GROUP_SAMPLES, UNIT_SAMPLES, NEVER_LATE):
        queue, state, most = SpeechQueue(max_backlog=bound), speaker.init_state(1), 0
        with torch.inference_mode():
            for new in tokens:
                (queue,), state = speak_group(speaker, [queue], [new], [False], state)
                assert queue.backlog or not queue.waiting  # the player does not run dry
                most = max(most, len(queue.waiting))
            (queue,), state = speak_group(speaker, [queue], [[]], [True], state)
            (queue,), state = speak_rest(speaker, [queue], state)
        assert not queue.waiting and not queue.unfinished
        assert queue.longest_backlog <= max(bound, GROUP_SAMPLES + LONGEST_WORD)
        assert (most > 0) == (bound < NEVER_LATE) or burst <= 2 or bound == UNIT_SAMPLES
        assert len(queue.units) > sizes.sum()  # a unit for each word, and more


@pytest.mark.parametrize("look_ahead", [0, 3, 5])
def test_what_a_vocoder_holds_back_is_part_of_the_backlog(
    model: Model, tmp_path: Path, look_ahead: int
) -> None:
    """It comes out with the last word of a text, also where that must not wait."""
    config = shallow_config() | {"num_embeddings": NUM_UNITS}
    torch.save({"generator": random_weights(config)}, tmp_path / "g")
    (tmp_path / "c").write_text(json.dumps(config))
    vocoder = load_code_hifigan(
        tmp_path / "g", tmp_path / "c", dur_prediction=False, lookahead_frames=look_ahead
    )
    speaker = SessionSettings(model, SessionConfig(speech=True)).speaker
    assert isinstance(speaker, UnitSpeaker)
    speaker = speaker._replace(vocoder=vocoder)
    longest, bound = [], GROUP_SAMPLES + LONGEST_WORD + look_ahead * UNIT_SAMPLES
    for num_words in range(1, 16):
        queue, state = SpeechQueue(max_backlog=bound), speaker.init_state(1)
        with torch.inference_mode():
            many = word_tokens(model, num_words)
            (queue,), state = speak_group(speaker, [queue], [many], [True], state)
            (queue,), state = speak_rest(speaker, [queue], state)
        longest.append(queue.longest_backlog)
    assert 0.8 * bound < max(longest) <= bound


def test_words_that_wait_have_the_units_they_would_have_later(model: Model) -> None:
    """A word that is tried and must wait leaves no trace: the rest is as if it came later."""
    many = word_tokens(model, 12)
    speaker = SessionSettings(model, SessionConfig(speech=True)).speaker
    assert speaker is not None
    with torch.inference_mode():
        queue, state, spoken = SpeechQueue(), speaker.init_state(1), list[int]()
        while queue.waiting or not spoken:
            new = [] if spoken else many
            (queue,), state = speak_group(speaker, [queue], [new], [not spoken], state)
            spoken.append(len(many) - len(queue.waiting))
        later, state, given = SpeechQueue(), speaker.init_state(1), 0
        for count in spoken:
            stop, ends = min(count + 1, len(many)), count == len(many)  # complete with the next
            (later,), state = speak_group(speaker, [later], [many[given:stop]], [ends], state)
            assert not later.waiting
            given = stop
    assert len(spoken) > 2 and later.units == queue.units
    np.testing.assert_array_equal(np.concatenate(later.samples), np.concatenate(queue.samples))


def test_more_words_than_may_wait_are_spoken_at_once(model: Model) -> None:
    speaker = SessionSettings(model, SessionConfig(speech=True)).speaker
    assert speaker is not None
    many = word_tokens(model, 2 * MAX_WAITING)
    with torch.inference_mode():
        (queue,), _ = speak_group(speaker, [SpeechQueue()], [many], [False], speaker.init_state(1))
    assert len(queue.waiting) == MAX_WAITING
    assert queue.backlog > MAX_BACKLOG


def test_only_streams_with_words_to_speak_are_computed(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker = SessionSettings(model, SessionConfig(speech=True)).speaker
    assert isinstance(speaker, UnitSpeaker)
    sizes = []
    step = type(speaker.unit_decoder).step

    def counted(self: Any, words: NextWords, state: Any) -> Any:
        sizes.append(len(words.speed))
        return step(self, words, state)

    monkeypatch.setattr(type(speaker.unit_decoder), "step", counted)
    many = word_tokens(model, 20)
    queues, state = [SpeechQueue()] * 5, speaker.init_state(5)
    with torch.inference_mode():
        queues, state = speak_group(
            speaker, queues, [[], many, [], many[:2], []], [False] * 5, state
        )
        assert sizes[0] == 2 and set(sizes[1:]) == {1}
        assert queues[1].waiting and queues[1].next_samples


@pytest.mark.parametrize(("backlog", "tried"), [(12_000, True), (12_001, False)])
def test_a_word_is_not_tried_again_before_it_can_fit(backlog: int, tried: bool) -> None:
    words = (SpokenWord((2,), 3),)
    queue = SpeechQueue(waiting=words, next_samples=4000, clock=7, end=7 + backlog)
    assert queue.may_speak == tried
    assert not replace(queue, waiting=()).may_speak


def test_after_an_error_at_the_end_nothing_is_lost(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = babble(5, seed=3)
    whole = run(model, [samples])
    session = StreamingTranslator(model, speech=True)
    outputs = session.push(samples, SAMPLE_RATE)
    with monkeypatch.context() as patch:
        patch.setattr("echostream.session.speech._play", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.finish()
    outputs += session.finish()
    monkeypatch.setattr("echostream.session.translator.close_streams", lambda *_: 1 / 0)
    assert session.finish() == []  # the stream is closed once
    assert joined_text(outputs) == joined_text(whole)
    np.testing.assert_array_equal(wave(outputs), wave(whole))


def test_the_backlog_is_measured(model: Model) -> None:
    session = StreamingTranslator(model, speech=True)
    session.push(babble(12, seed=7), SAMPLE_RATE)
    assert 0 <= session.backlog_ms <= session.longest_backlog_ms
    assert session.longest_backlog_ms > 0


def test_a_reset_forgets_the_speech(model: Model) -> None:
    session = StreamingTranslator(model, speech=True)
    first = session.push(babble(3, seed=8), SAMPLE_RATE) + session.finish()
    session.reset()
    assert session.longest_backlog_ms == 0
    again = session.push(babble(3, seed=8), SAMPLE_RATE) + session.finish()
    np.testing.assert_array_equal(wave(first), wave(again))


def test_silence_says_nothing(model: Model) -> None:
    outputs = run(model, [])
    assert all(len(output.samples) == 0 or output.words for output in outputs)


def test_a_model_that_cannot_speak_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="`speech` needs a model with a unit decoder"):
        StreamingTranslator(load_model(folder), speech=True)
    with pytest.raises(ValueError, match="`speech` needs a model with a unit decoder"):
        StreamBatch(load_model(folder), 2, speech=True)


def test_recognition_does_not_speak(model: Model) -> None:
    with pytest.raises(ValueError, match="`speech` needs the task st"):
        StreamingTranslator(model, speech=True, task="asr")


@pytest.mark.parametrize(
    ("name", "message"),
    [("vocoder", "must be the folder of a vocoder"), ("unit_decoder", "folder of a unit decoder")],
)
def test_a_model_with_one_of_both_parts_is_refused(tmp_path: Path, name: str, message: str) -> None:
    path = make_speaking_folder(tmp_path)
    (path / name / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=message):
        load_model(path)


def test_a_unit_decoder_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    path = make_speaking_folder(tmp_path, vocab_size=7)
    with pytest.raises(ModelFolderError, match="`vocab_size` must be 24 in this model, but is 7"):
        load_model(path)


def test_an_unknown_key_of_a_part_is_refused(tmp_path: Path) -> None:
    path = make_speaking_folder(tmp_path)
    config = path / "unit_decoder" / "config.yaml"
    config.write_text(config.read_text() + "beam: 3\n")
    with pytest.raises(ConfigError, match="`beam` is not a key"):
        load_model(path)
