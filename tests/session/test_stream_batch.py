"""A batch of streams: which streams are stepped, at what cost, and the effect of errors.

`test_stream_batch_random.py` compares it with separate sessions.
"""

from __future__ import annotations

import logging
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import SAMPLE_RATE, babble, make_model_folder
from torch import Tensor

from echostream.model_folder import Model, load_model
from echostream.models import CtcOutput
from echostream.models.echostream import ModelState
from echostream.session.batch import StreamBatch
from echostream.session.translator import Output, StreamingTranslator

GROUP = 2560  # samples at 16 kHz


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder)


@pytest.fixture
def steps(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The streams and groups of each step of the network from now on."""
    seen: list[tuple[int, int]] = []
    step = model.network.step

    def watched(x: Tensor, state: ModelState, valid: Tensor) -> tuple[CtcOutput, ModelState]:
        seen.append((x.shape[0], x.shape[1] // 16))
        return step(x, state, valid)

    monkeypatch.setattr(model.network, "step", watched)
    return seen


def drain(batch: StreamBatch) -> dict[int, list[Output]]:
    """Steps until no stream is ready; returns all outputs."""
    written: dict[int, list[Output]] = {}
    while batch.ready:
        for stream, outputs in batch.step().items():
            written[stream] = written.get(stream, []) + outputs
    return written


def words(outputs: list[Output]) -> list[str]:
    return [word for output in outputs for word in output.text.split()]


def alone(model: Model, samples: np.ndarray, **session: Any) -> list[str]:
    translator = StreamingTranslator(model, **session)
    return words(translator.push(samples, SAMPLE_RATE) + translator.finish())


def test_one_step_of_the_network_takes_exactly_the_streams_with_a_complete_group(
    model: Model, steps: list[tuple[int, int]]
) -> None:
    batch = StreamBatch(model, 5)
    streams = [batch.join() for _ in range(5)]
    for stream, size in zip(streams, [2 * GROUP, GROUP - 1, 2 * GROUP, 0, 2 * GROUP], strict=True):
        batch.push(stream, babble(1, seed=stream)[:size], SAMPLE_RATE)
    assert batch.ready == [streams[0], streams[2], streams[4]]
    assert list(batch.step()) == [streams[0], streams[2], streams[4]]
    assert steps == [(3, 2)]
    assert batch.ready == [] and batch.step() == {} and len(steps) == 1
    batch.push(streams[1], babble(1, seed=1)[:1], SAMPLE_RATE)
    assert list(batch.step()) == [streams[1]]
    assert steps[1:] == [(1, 1)]


def test_streams_with_equally_many_groups_share_a_step_and_none_takes_part_in_two(
    model: Model, steps: list[tuple[int, int]]
) -> None:
    batch = StreamBatch(model, 6)
    streams = [batch.join() for _ in range(6)]
    for stream, num_groups in zip(streams, [5, 2, 1, 5, 0, 2], strict=True):
        batch.push(stream, babble(1, seed=stream)[: num_groups * GROUP], SAMPLE_RATE)
    batch.step()
    assert steps == [(1, 1), (2, 2), (2, 5)]
    assert [batch.num_waiting(stream) for stream in streams] == [0] * 6


def test_a_whole_recording_at_once_delays_no_stream_for_long(
    model: Model, steps: list[tuple[int, int]]
) -> None:
    batch = StreamBatch(model, 2)
    patient, other = batch.join(), batch.join()
    samples = babble(6, seed=3)
    batch.push(patient, samples, SAMPLE_RATE)
    batch.finish(patient)
    assert batch.num_waiting(patient) == 42  # 6.64 s, and a last, short group
    written = words(batch.step()[patient])
    batch.push(other, samples[:GROUP], SAMPLE_RATE)
    written += words(batch.step()[patient])
    assert steps == [(1, 8), (1, 1), (1, 8)]
    assert written + words(drain(batch)[patient]) == alone(model, samples)


@pytest.mark.parametrize("task", ["st", "asr"])
def test_streams_side_by_side_give_the_words_of_separate_sessions(model: Model, task: str) -> None:
    session = {"max_future_frames": 1, "stride_n": 2, "task": task, "transcript": True}
    recordings = [babble(seconds, seed=4) for seconds in (3, 2.5, 0.2)]
    batch = StreamBatch(model, 3, **session)
    streams = [batch.join() for _ in recordings]
    written: dict[int, list[Output]] = {stream: [] for stream in streams}
    for start in range(0, 3 * SAMPLE_RATE, 5120):
        for stream, samples in zip(streams, recordings, strict=True):
            if start < len(samples):
                batch.push(stream, samples[start : start + 5120], SAMPLE_RATE)
            elif stream in batch:
                batch.finish(stream)
        for stream, outputs in batch.step().items():
            written[stream] += outputs
    for stream in streams:
        if stream in batch:
            batch.finish(stream)
    for stream, outputs in drain(batch).items():
        written[stream] += outputs
    for stream, samples in zip(streams, recordings, strict=True):
        translator = StreamingTranslator(model, **session)
        wanted = translator.push(samples, SAMPLE_RATE) + translator.finish()
        assert words(written[stream]) == words(wanted)
        transcripts = [
            [w for o in outputs for w in o.source_text.split()]
            for outputs in (written[stream], wanted)
        ]
        assert transcripts[0] == transcripts[1]
        assert len(transcripts[0]) > 3 or len(samples) < SAMPLE_RATE


def test_the_delay_of_an_output_is_the_audio_received_so_far(model: Model) -> None:
    batch = StreamBatch(model, 2)
    first, second = batch.join(), batch.join()
    samples = babble(4, seed=5)
    seen = 0
    for index in range(12):
        batch.push(first, samples[index * 5120 : (index + 1) * 5120], SAMPLE_RATE)
        if index % 3 == 0:
            batch.push(second, np.zeros(24_000, np.float32), 48_000)
        assert batch.delay_ms(first) == 320 * (index + 1)
        for stream, outputs in batch.step().items():
            assert all(output.delay_ms == batch.delay_ms(stream) for output in outputs)
            seen += len(outputs) * (stream == first)
    assert seen > 3
    assert batch.delay_ms(second) == 2000


def test_only_the_last_output_of_a_stream_is_final_and_then_it_has_left(model: Model) -> None:
    batch = StreamBatch(model, 2)
    stream, other = batch.join(), batch.join()
    batch.push(stream, babble(4, seed=6), SAMPLE_RATE)
    batch.push(other, babble(4, seed=7), SAMPLE_RATE)
    batch.finish(stream)
    batch.finish(stream)  # the second time nothing happens
    outputs = drain(batch)[stream]
    assert [output.final for output in outputs] == [False] * (len(outputs) - 1) + [True]
    assert stream not in batch and other in batch and len(batch) == 1
    with pytest.raises(KeyError, match="`stream` must be one that has joined and not left"):
        batch.push(stream, babble(1, seed=0), SAMPLE_RATE)


def test_a_stream_without_audio_leaves_without_a_step_of_the_network(
    model: Model, steps: list[tuple[int, int]]
) -> None:
    batch = StreamBatch(model, 2)
    mute, empty = batch.join(), batch.join()
    batch.push(empty, [], SAMPLE_RATE)
    for stream in (mute, empty):
        batch.finish(stream)
    assert batch.step() == {mute: [], empty: []}
    assert len(batch) == 0 and steps == []


@pytest.mark.parametrize("method", ["ctc", "decoder"])
def test_a_stream_without_a_tail_writes_what_it_held_back(tmp_path: Path, method: str) -> None:
    """Its end adds no group at all: the last words are all that remains."""
    model = load_model(make_model_folder(tmp_path, tail_ms=0, decoder_layers=1))
    samples = babble(2, seed=8)[: 12 * GROUP]
    batch = StreamBatch(model, 1, lagging_k1=3, decoding_method=method)
    stream = batch.join()
    batch.push(stream, samples, SAMPLE_RATE)
    written = words(drain(batch)[stream])
    batch.finish(stream)
    assert batch.num_waiting(stream) == 0 and batch.ready == [stream]
    last = words(batch.step()[stream])
    assert written + last == alone(model, samples, lagging_k1=3, decoding_method=method)
    assert last != []


def test_a_full_batch_is_an_error_until_a_stream_has_left(model: Model) -> None:
    batch = StreamBatch(model, 2)
    streams = [batch.join(), batch.join()]
    with pytest.raises(RuntimeError, match="its `capacity` is 2"):
        batch.join()
    batch.leave(streams[0])
    third = batch.join()
    assert third not in streams and len(batch) == 2
    batch.finish(streams[1])
    batch.step()
    batch.join()


def test_whole_numbers_of_numpy_are_options_of_a_session(model: Model) -> None:
    batch = StreamBatch(model, np.int64(2), max_future_frames=np.int64(0), stride_n=np.int32(2))
    assert type(batch.capacity) is type(batch.max_future_frames) is int
    stream = batch.join()
    batch.push(stream, babble(1, seed=1), np.int64(SAMPLE_RATE))
    batch.finish(stream)
    assert words(drain(batch).get(stream, [])) == alone(
        model, babble(1, seed=1), max_future_frames=0, stride_n=2
    )


@pytest.mark.parametrize("capacity", [10**9, 10**30, np.int64(10**12)])
def test_a_capacity_beyond_the_memory_is_refused_with_the_bytes_it_needs(
    model: Model, capacity: Any
) -> None:
    """The allocator of PyTorch failed, with a message about itself."""
    one = StreamBatch(model, 1).state_nbytes
    with pytest.raises(ValueError, match=rf"`capacity` .* {one} bytes") as caught:
        StreamBatch(model, capacity)
    assert f"but is {capacity} instead" in str(caught.value)


@pytest.mark.parametrize("capacity", [0, -1, 2.0, True])
def test_a_capacity_that_makes_no_sense_is_refused(model: Model, capacity: Any) -> None:
    with pytest.raises(ValueError, match="`capacity` must be an integer >= 1, but is"):
        StreamBatch(model, capacity)


@pytest.mark.parametrize("call", ["finish", "leave", "num_waiting", "delay_ms"])
def test_a_stream_that_has_left_is_unknown(model: Model, call: str) -> None:
    batch = StreamBatch(model, 1)
    stream = batch.join()
    batch.leave(stream)
    batch.join()
    with pytest.raises(KeyError, match=f"joined and not left, but is {stream}"):
        getattr(batch, call)(stream)


def test_an_error_concerns_the_stream_that_made_it(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    samples = babble(2, seed=9)
    batch = StreamBatch(model, 3)
    good, bad, done = (batch.join() for _ in range(3))
    batch.finish(done)
    written = []
    for start in range(0, len(samples), 3000):
        piece = samples[start : start + 3000]
        batch.push(good, piece, SAMPLE_RATE)
        with caplog.at_level(logging.ERROR):
            batch.push(bad, np.full_like(piece, np.nan), SAMPLE_RATE)
        with pytest.raises(ValueError, match="`sample_rate` must stay 16000"):
            batch.push(bad, piece, 8_000)
        with pytest.raises(ValueError, match="shape"):
            batch.push(bad, piece[None, None], SAMPLE_RATE)
        if done in batch:
            with pytest.raises(RuntimeError, match="finished"):
                batch.push(done, piece, SAMPLE_RATE)
        written += batch.step().get(good, [])
    batch.finish(good)
    assert words(written + drain(batch)[good]) == alone(model, samples)


def test_a_network_that_fails_costs_no_stream_a_word(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = [babble(2, seed=10), babble(3, seed=11), babble(3.3, seed=12)]
    batch = StreamBatch(model, 3)
    streams = [batch.join() for _ in recordings]
    for stream, samples in zip(streams, recordings, strict=True):
        batch.push(stream, samples, SAMPLE_RATE)
        batch.finish(stream)
    calls, step = count(), model.network.step

    def fail_at_times(*args: Any) -> Any:
        if next(calls) % 3 != 1:
            raise MemoryError
        return step(*args)

    monkeypatch.setattr(model.network, "step", fail_at_times)
    written = {stream: list[Output]() for stream in streams}
    num_failed = 0
    while batch.ready:
        try:
            for stream, outputs in batch.step().items():
                written[stream] += outputs
        except MemoryError:
            num_failed += 1
    monkeypatch.undo()
    assert num_failed > 3
    assert [words(written[stream]) for stream in streams] == [alone(model, s) for s in recordings]


def test_the_state_has_the_size_of_the_capacity_from_the_start(model: Model) -> None:
    sizes = []
    for capacity in (1, 2, 6):
        batch = StreamBatch(model, capacity)
        sizes.append(batch.state_nbytes)
        stream = batch.join()
        batch.push(stream, babble(2, seed=12), SAMPLE_RATE)
        drain(batch)
        assert batch.state_nbytes == sizes[-1]
    assert sizes == [sizes[0], 2 * sizes[0], 6 * sizes[0]] and sizes[0] > 0


def test_a_batch_that_was_warmed_up_is_as_new(model: Model) -> None:
    samples = babble(2, seed=13)
    batch = StreamBatch(model, 2)
    batch.warm_up()
    assert len(batch) == 0
    stream = batch.join()
    with pytest.raises(RuntimeError, match="empty batch, but 1 have joined"):
        batch.warm_up()
    batch.push(stream, samples, SAMPLE_RATE)
    batch.finish(stream)
    with torch.inference_mode():  # the caller may be in it or not
        written = batch.step()[stream]
    assert words(written + drain(batch)[stream]) == alone(model, samples)
