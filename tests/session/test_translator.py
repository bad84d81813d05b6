"""The session: how audio is cut does not matter, streams do not mix, no input brings it down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from slow_reference import greedy_ctc
from tiny_model import SAMPLE_RATE, babble, make_model_folder, pieces, random_pieces

from echostream.frontend.fbank import fbank
from echostream.frontend.resample import resample
from echostream.model_folder import Model, load_model
from echostream.session.translator import Output, StreamingTranslator


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder)


def run(
    session: StreamingTranslator,
    samples: NDArray[Any],
    size: int | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> list[Output]:
    """All outputs for a recording pushed in pieces of `size` samples (at once if None)."""
    outputs = []
    for piece in pieces(samples, size or max(len(samples), 1)):
        outputs += session.push(piece, sample_rate)
    return outputs + session.finish()


def words(outputs: list[Output]) -> list[str]:
    return [word for output in outputs for word in output.text.split()]


def delays(outputs: list[Output]) -> list[float]:
    return [output.delay_ms for output in outputs for _ in output.text.split()]


def expected_words(
    model: Model, samples: NDArray[np.float32], max_future_frames: int, task: str
) -> list[str]:
    """Slow and obvious: the whole recording at once, without any state."""
    silence = np.zeros(16 * model.config.tail_ms, np.float32)
    frames = torch.from_numpy(model.cmvn.apply(fbank(np.concatenate([samples, silence]))))[None]
    if not frames.shape[1]:
        return []
    with torch.inference_mode():
        output = model.network(frames, torch.tensor([frames.shape[1]]), max_future_frames)
    logits = output.asr_logits if task == "asr" else output.st_logits
    tokens = [token for token, _ in greedy_ctc(logits[0], output.valid[0])]
    tokenizer = model.source_tokenizer if task == "asr" else model.target_tokenizer
    return tokenizer.decode(tokens).split()


# Lengths about a group of 2560 samples, and beyond what one step takes (64 groups, 10.24 s).
@pytest.mark.parametrize("num_samples", [2559, 2560, 2561, 30_000, 12 * SAMPLE_RATE])
@pytest.mark.parametrize("max_future_frames", [0, 1, 2])
@pytest.mark.parametrize("task", ["st", "asr"])
def test_the_words_are_those_of_one_pass_over_the_recording(
    model: Model, num_samples: int, max_future_frames: int, task: str
) -> None:
    samples = babble(12, seed=1)[:num_samples]
    session = StreamingTranslator(model, max_future_frames=max_future_frames, task=task)
    whole = expected_words(model, samples, max_future_frames, task)
    assert words(run(session, samples, 5120)) == whole
    assert len(whole) > 4 or num_samples < 30_000


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
@pytest.mark.parametrize("max_future_frames", [0, 1])
def test_how_the_audio_is_cut_does_not_change_the_text(
    model: Model, max_future_frames: int, sample_rate: int
) -> None:
    samples = babble(3, seed=2, sample_rate=sample_rate)
    session = StreamingTranslator(model, max_future_frames=max_future_frames)

    def text_of(cut: Iterator[NDArray[Any]]) -> list[str]:
        session.reset()
        outputs = [output for piece in cut for output in session.push(piece, sample_rate)]
        return words(outputs + session.finish())

    whole = text_of(iter([samples]))
    assert len(whole) > 4
    assert text_of(pieces(samples, sample_rate // 100)) == whole
    assert text_of(pieces(samples, 32 * sample_rate // 100)) == whole
    assert text_of(random_pieces(samples)) == whole


def test_one_sample_at_a_time_gives_the_same_text_as_all_at_once(model: Model) -> None:
    samples = babble(0.7, seed=3)
    session = StreamingTranslator(model)
    whole = words(run(session, samples))
    session.reset()
    assert words(run(session, samples, 1)) == whole != []


def test_a_word_comes_out_with_the_segment_that_completes_its_group(model: Model) -> None:
    samples = babble(6, seed=4)
    session = StreamingTranslator(model, task="asr")
    fine = run(session, samples, 160)
    session.reset()
    coarse = run(session, samples, 5120)
    assert words(fine) == words(coarse)
    in_time = sum(not output.final for output in fine for _ in output.text.split())
    assert in_time > 5
    for early, late in zip(delays(fine)[:in_time], delays(coarse)[:in_time], strict=True):
        assert early % 160 == 0
        assert late == min(-(-early // 320) * 320, 6000)
    assert [output.delay_ms for output in fine if output.final] == [6000.0]


def test_the_policy_moves_words_in_time_but_does_not_change_them(model: Model) -> None:
    samples = babble(8, seed=5)
    plain = run(StreamingTranslator(model), samples, 2560)
    mean_delay = np.mean(delays(plain))
    for policy in ({"lagging_k1": 3}, {"lagging_k2": 20}, {"stride_n": 4}):
        later = run(StreamingTranslator(model, **policy), samples, 2560)
        assert words(later) == words(plain)
        assert np.mean(delays(later)) > mean_delay
    waiting = run(StreamingTranslator(model, lagging_k1=10_000), samples, 2560)
    assert [output.final for output in waiting] == [True]
    assert words(waiting) == words(plain)


def test_outputs_are_whole_words_in_order_and_only_the_last_is_final(model: Model) -> None:
    outputs = run(StreamingTranslator(model), babble(6, seed=6), 2560)
    assert all(output.text == " ".join(output.text.split()) != "" for output in outputs)
    assert [output.final for output in outputs] == [False] * (len(outputs) - 1) + [True]
    assert delays(outputs) == sorted(delays(outputs))
    assert all(output.source_text == "" for output in outputs)


def test_the_transcript_is_the_words_of_the_asr_task(model: Model) -> None:
    samples = babble(6, seed=6)
    outputs = run(StreamingTranslator(model, transcript=True), samples, 2560)
    transcript = [word for output in outputs for word in output.source_text.split()]
    assert transcript == words(run(StreamingTranslator(model, task="asr"), samples, 2560))
    assert words(outputs) == words(run(StreamingTranslator(model), samples, 2560))


def test_two_sessions_interleaved_equal_two_alone(model: Model) -> None:
    recordings = [babble(4, seed=7), babble(4, seed=8)]
    alone = [run(StreamingTranslator(model), samples, 3000) for samples in recordings]
    sessions = [StreamingTranslator(model) for _ in recordings]
    together: list[list[Output]] = [[], []]
    for both in zip(*(pieces(samples, 3000) for samples in recordings), strict=True):
        for session, piece, outputs in zip(sessions, both, together, strict=True):
            outputs += session.push(piece, SAMPLE_RATE)
    for session, outputs in zip(sessions, together, strict=True):
        outputs += session.finish()
    assert together == alone


@pytest.mark.parametrize("finished", [True, False])
def test_reset_leaves_no_residue(model: Model, finished: bool) -> None:
    samples = babble(4, seed=9)
    fresh = run(StreamingTranslator(model, lagging_k1=2), samples, 2560)
    session = StreamingTranslator(model, lagging_k1=2)
    session.push(babble(3.33, seed=10, sample_rate=22_050), 22_050)  # another rate, a cut group
    if finished:
        session.finish()
    session.reset()
    assert session.delay_ms == 0
    assert run(session, samples, 2560) == fresh


def test_the_state_does_not_grow(model: Model) -> None:
    session = StreamingTranslator(model, max_future_frames=2)
    at_start = session.state_nbytes
    for piece in pieces(babble(30, seed=11), 4000):
        session.push(piece, SAMPLE_RATE)
        assert session.state_nbytes == at_start > 0
        frames = session._stream.features._frames
        assert len(frames) < 16 and frames.base is None
        assert len(session._stream._pending) < 40


def test_a_push_does_not_write_to_the_samples(model: Model) -> None:
    samples = babble(1, seed=12)
    samples[100] = np.nan
    before = samples.copy()
    run(StreamingTranslator(model), samples)
    np.testing.assert_array_equal(samples, before)


# What comes in from outside


def test_samples_that_are_not_finite_are_silence_and_one_warning(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    good = babble(2, seed=13)
    good[5000:6000] = 0
    bad = good.copy()
    bad[5000:6000] = np.resize([np.nan, np.inf, -np.inf], 1000)
    session = StreamingTranslator(model)
    expected = run(session, good, 700)
    session.reset()
    with caplog.at_level(logging.WARNING):
        assert run(session, bad, 700) == expected
        assert len(caplog.records) == 1
        session.reset()
        run(session, bad, 700)
        assert len(caplog.records) == 2  # one for each stream


def test_channels_are_averaged(model: Model) -> None:
    left, right = babble(2, seed=14), babble(2, seed=15)
    stereo = run(StreamingTranslator(model), np.stack([left, right], axis=1), 2560)
    mono = run(StreamingTranslator(model), (left + right) / 2, 2560)
    assert words(stereo) == words(mono) != []


@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 44_100, 48_000])
def test_other_sample_rates_are_resampled_and_delays_stay_in_real_time(
    model: Model, sample_rate: int
) -> None:
    samples = babble(3, seed=16, sample_rate=sample_rate)
    outputs = run(StreamingTranslator(model), samples, sample_rate // 10, sample_rate)
    assert words(outputs) != []
    assert outputs[-1].delay_ms == pytest.approx(3000)
    assert all(0 < output.delay_ms <= 3000 for output in outputs)


@pytest.mark.parametrize("sample_rate", [8_000, 44_100])
def test_the_last_samples_of_another_rate_are_not_lost(tmp_path: Path, sample_rate: int) -> None:
    model = load_model(make_model_folder(tmp_path, tail_ms=0))  # nothing to hide a loss behind
    for seed in range(3):
        samples = babble(3, seed, sample_rate)
        outputs = run(StreamingTranslator(model), samples, 3000, sample_rate)
        assert words(outputs) == expected_words(model, resample(samples, sample_rate), 0, "st")


@pytest.mark.parametrize("num_samples", [1, 159, 160, 161, 399, 400, 401, 2559, 2560, 2561])
@pytest.mark.parametrize("max_future_frames", [0, 2])
@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 48_000])
def test_a_recording_of_any_length_can_be_finished(
    model: Model, num_samples: int, max_future_frames: int, sample_rate: int
) -> None:
    session = StreamingTranslator(model, max_future_frames=max_future_frames)
    outputs = run(session, babble(1, seed=17)[:num_samples], sample_rate=sample_rate)
    assert all(output.delay_ms <= 1000 * num_samples / sample_rate for output in outputs)


@pytest.mark.parametrize("tail_ms", [0, 10, 160, 650])
@pytest.mark.parametrize("num_samples", [100, 2560, 4000])
def test_any_tail_can_be_flushed(tmp_path: Path, tail_ms: int, num_samples: int) -> None:
    model = load_model(make_model_folder(tmp_path, tail_ms))
    samples = babble(1, seed=18)[:num_samples]
    for max_future_frames in (0, 1):
        outputs = run(StreamingTranslator(model, max_future_frames=max_future_frames), samples)
        assert words(outputs) == expected_words(model, samples, max_future_frames, "st")


def test_silence_is_no_error(model: Model) -> None:
    outputs = run(StreamingTranslator(model), np.zeros(3 * SAMPLE_RATE, np.float32), 5120)
    assert all(output.delay_ms <= 3000 for output in outputs)


def test_no_audio_gives_no_words(model: Model) -> None:
    session = StreamingTranslator(model)
    assert session.finish() == []
    session.reset()
    assert session.push(np.empty(0, np.float32), SAMPLE_RATE) == []
    assert session.push([], SAMPLE_RATE) == []
    assert session.finish() == []


def check_unchanged_by(
    act: Callable[[StreamingTranslator, NDArray[Any]], None], model: Model
) -> None:
    """The outputs of a stream are the same when `act` is called after each push."""
    samples = babble(2, seed=19)
    expected = run(StreamingTranslator(model), samples, 2560)
    session = StreamingTranslator(model)
    outputs = []
    for piece in pieces(samples, 2560):
        outputs += session.push(piece, SAMPLE_RATE)
        act(session, piece)
    assert outputs + session.finish() == expected


def test_an_empty_push_changes_nothing(model: Model) -> None:
    def push_nothing(session: StreamingTranslator, piece: NDArray[Any]) -> None:
        assert session.push(piece[:0], SAMPLE_RATE) == []

    check_unchanged_by(push_nothing, model)


def test_after_finish_only_reset_goes_on(model: Model) -> None:
    session = StreamingTranslator(model)
    assert run(session, babble(2, seed=20)) != []
    assert session.finish() == []
    with pytest.raises(RuntimeError, match=r"finished: call `reset\(\)`"):
        session.push(babble(1, seed=0), SAMPLE_RATE)
    session.reset()
    session.push(babble(1, seed=0), SAMPLE_RATE)


def test_a_refused_push_leaves_the_stream_as_it_was(model: Model) -> None:
    def push_badly(session: StreamingTranslator, piece: NDArray[Any]) -> None:
        with pytest.raises(ValueError, match="`sample_rate` must stay 16000"):
            session.push(piece, 48_000)
        with pytest.raises(ValueError, match="shape"):
            session.push(piece[None, None], SAMPLE_RATE)
        with pytest.raises(ValueError, match="floating point"):
            session.push((1000 * piece).astype(np.int16), SAMPLE_RATE)

    check_unchanged_by(push_badly, model)


@pytest.mark.parametrize("sample_rate", [0, -16_000, 16, 10**9, 16_000.5, float("nan")])
def test_a_sample_rate_that_makes_no_sense_is_refused(model: Model, sample_rate: Any) -> None:
    with pytest.raises(ValueError, match="`sample_rate` must be a whole number of Hz"):
        StreamingTranslator(model).push(babble(1, seed=0), sample_rate)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_future_frames": 3}, "`max_future_frames` must be"),
        ({"lagging_k1": -1}, "`lagging_k1` must be"),
        ({"stride_n": 0}, "`stride_n` must be"),
        ({"task": "mt"}, "`task` must be one of st, asr, but is 'mt'"),
    ],
)
def test_a_bad_argument_is_refused_when_the_session_is_made(
    model: Model, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        StreamingTranslator(model, **arguments)


def test_load_makes_a_session_from_a_folder(folder: Path, model: Model) -> None:
    samples = babble(2, seed=22)
    session = StreamingTranslator.load(folder, max_future_frames=1, stride_n=2)
    expected = run(StreamingTranslator(model, max_future_frames=1, stride_n=2), samples, 2560)
    assert run(session, samples, 2560) == expected
