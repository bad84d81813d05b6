"""Streams that join, leave and disconnect at random: each gives the words of a separate session."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tiny_model import babble, make_model_folder, prefer_short_words

from echostream.frontend.resample import StreamingResampler
from echostream.model_folder import Model, load_model
from echostream.models import EchoStreamModel
from echostream.models.text_decoder import DecoderState
from echostream.session.batch import StreamBatch
from echostream.session.settings import StreamState
from echostream.session.stream import Output
from echostream.session.translator import StreamingTranslator
from echostream.streaming import named_leaves, take_rows

pytestmark = pytest.mark.slow  # the file as a whole

# Seconds, sample rate: about the groups of 160 ms, shorter than one, and long enough for a summary.
RECORDINGS = [(0.05, 16_000), (1.6, 16_000), (2.0, 16_000), (1.03, 8_000), (1.3, 44_100)]
PIECES = [0, 1, 400, 2560, 5120, 8000]  # samples at 16 kHz
SESSIONS = [
    {"max_future_frames": look_ahead, "decoding_method": method, "lagging_k1": lagging}
    for look_ahead in (0, 1, 2)
    for method, lagging in (("ctc", 0), ("decoder", 1))
]


PROBE = torch.randn(1, 16, 80, generator=torch.Generator().manual_seed(0))


class Moment(NamedTuple):
    """The words of a stream so far, and its state as far as it decides what follows."""

    words: list[str]
    counts: list[int]  # of the decoding method
    decoder: list[torch.Tensor]
    next: list[torch.Tensor]  # output of the network for a fixed group


class Alone(NamedTuple):
    """A separate session on a recording: after each number of groups, and at the end."""

    after: list[Moment]
    end: Moment


class Member:
    """A stream of the batch, and its words so far."""

    def __init__(self, recording: int) -> None:
        self.recording = recording
        self.seconds, self.sample_rate = RECORDINGS[recording]
        self.num_pushed = 0
        self.num_stepped = 0
        self.words: list[str] = []
        self.finished = False
        self.poisoned = False


def samples_of(recording: int) -> np.ndarray:
    seconds, sample_rate = RECORDINGS[recording]
    return babble(seconds, seed=50 + recording, sample_rate=sample_rate)


def words_of(outputs: list[Output]) -> list[str]:
    return [word for output in outputs for word in output.text.split()]


class AnyBatch(RuleBasedStateMachine):
    """A server with random clients; each is compared with a separate session."""

    model: Model  # of the subclass that the test makes

    @initialize(kind=st.sampled_from(range(len(SESSIONS))), capacity=st.integers(2, 4))
    def open(self, kind: int, capacity: int) -> None:
        self.kind = kind
        self.batch = StreamBatch(self.model, capacity, **SESSIONS[kind])
        self.members: dict[int, Member] = {}
        self.storage = self._storage()

    @precondition(lambda self: len(self.batch) < self.batch.capacity)
    @rule(recording=st.sampled_from(range(len(RECORDINGS))))
    def join(self, recording: int) -> None:
        stream = self.batch.join()
        assert stream not in self.members
        self.members[stream] = Member(recording)

    @precondition(lambda self: self._unfinished())
    @rule(which=st.integers(0, 3), size=st.sampled_from(PIECES), bad=st.booleans())
    def push(self, which: int, size: int, bad: bool) -> None:
        self._push(self._unfinished()[which % len(self._unfinished())], size, bad)

    @precondition(lambda self: self._unfinished())
    @rule(size=st.sampled_from(PIECES[3:]))
    def push_to_all(self, size: int) -> None:
        for stream in self._unfinished():
            self._push(stream, size)

    @precondition(lambda self: self._unfinished())
    @rule(which=st.integers(0, 3))
    def finish(self, which: int) -> None:
        stream = self._unfinished()[which % len(self._unfinished())]
        self._push(stream, 10**6)
        self.batch.finish(stream)
        self.members[stream].finished = True

    @precondition(lambda self: len(self.batch))
    @rule(which=st.integers(0, 3))
    def disconnect(self, which: int) -> None:
        stream = self._present()[which % len(self.batch)]
        self.batch.leave(stream)
        row = torch.tensor([r not in self.batch._rows.values() for r in range(self.batch.capacity)])
        self._poison(row)  # the row that is free now

    @precondition(lambda self: len(self.batch) > 1)
    @rule(which=st.integers(0, 3))
    def poison(self, which: int) -> None:
        stream = self._present()[which % len(self.batch)]
        self.members[stream].poisoned = True
        row = self.batch._rows[stream]
        self._poison(torch.arange(self.batch.capacity) == row)

    @rule()
    def step(self) -> None:
        ready = self.batch.ready
        before = {stream: self.batch.num_waiting(stream) for stream in self._present()}
        stepped = self.batch.step()
        assert list(stepped) == ready
        for stream, outputs in stepped.items():
            member = self.members[stream]
            member.words += words_of(outputs)
            left = self.batch.num_waiting(stream) if stream in self.batch else 0
            assert left == max(0, before[stream] - 8)
            member.num_stepped += before[stream] - left
            assert len(outputs) <= 1
            assert all(output.final == (stream not in self.batch) for output in outputs)
        for stream in stepped:
            self._check(stream)

    @invariant()
    def the_state_is_allocated_once(self) -> None:
        if hasattr(self, "batch"):
            assert self._storage() == self.storage

    def teardown(self) -> None:
        if not hasattr(self, "batch"):
            return
        while self._unfinished():
            self.finish(0)
        for _ in range(200):
            if not self.batch.ready:
                break
            self.step()
        assert len(self.batch) == 0

    def _check(self, name: int) -> None:
        member, row = self.members[name], self.batch._rows.get(name)
        if member.poisoned:
            return
        alone = alone_session(self.model, self.kind, member.recording)
        if row is None:
            assert member.finished
            check_same(moment(self.model, member.words, None), alone.end)
        elif member.num_stepped < len(alone.after):  # it is not closing yet
            state = take_rows(self.batch._state, [row])
            wanted = alone.after[member.num_stepped]
            check_same(moment(self.model, member.words, state), wanted)

    def _push(self, stream: int, size: int, bad: bool = False) -> None:
        member = self.members[stream]
        start = member.num_pushed
        size = size * member.sample_rate // 16_000
        piece = samples_of(member.recording)[start : start + size]
        member.num_pushed += len(piece)
        if bad:  # its output is arbitrary from now on
            piece = np.full_like(piece, np.nan)
            member.poisoned = member.poisoned or len(piece) > 0
        self.batch.push(stream, piece, member.sample_rate)

    def _poison(self, rows: torch.Tensor) -> None:
        with torch.inference_mode():
            for _, leaf in named_leaves(self.batch._state):
                if leaf.is_floating_point():
                    leaf[rows] = torch.nan

    def _present(self) -> list[int]:
        return [stream for stream in self.members if stream in self.batch]

    def _unfinished(self) -> list[int]:
        return [stream for stream in self._present() if not self.members[stream].finished]

    def _storage(self) -> list[tuple[int, torch.Size]]:
        return [(leaf.data_ptr(), leaf.shape) for _, leaf in named_leaves(self.batch._state)]


@torch.inference_mode()
def moment(model: Model, words: list[str], state: StreamState | None) -> Moment:
    if state is None:  # the stream has left
        return Moment(words, [], [], [])
    decoder, seen = state.decoding.decoder, list[torch.Tensor]()
    if isinstance(decoder, DecoderState):  # where it is not valid, anything may be
        frames = decoder.frames.masked_fill(~decoder.valid[..., None], 0)
        seen = [frames, decoder.valid, decoder.summaries.num_groups, decoder.last_token]
    probed, _ = model.network.step(PROBE, state.network)
    output = [field.masked_fill(~probed.valid[..., None], 0) for field in probed[:2]]
    return Moment(words, state.decoding.counts[0].tolist(), seen, output)


def check_same(found: Moment, wanted: Moment) -> None:
    """The same words and counts, and tensors that differ by no more than rounding."""
    assert found[:2] == wanted[:2]
    torch.testing.assert_close(found.decoder, wanted.decoder, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.next, wanted.next, rtol=1e-4, atol=1e-4)


@lru_cache
def alone_session(model: Model, kind: int, recording: int) -> Alone:
    """Slow and obvious: a session of its own, 10 ms at a time."""
    samples, sample_rate = samples_of(recording), RECORDINGS[recording][1]
    session = StreamingTranslator(model, **SESSIONS[kind])
    resampler, num_samples = StreamingResampler(sample_rate), 0  # 2560 of 16 kHz are a group
    after = [moment(model, [], session._state)]
    for start in range(0, len(samples), sample_rate // 100):
        piece = samples[start : start + sample_rate // 100]
        num_samples += len(resampler.push(piece))
        words = after[-1].words + words_of(session.push(piece, sample_rate))
        if num_samples // 2560 == len(after):
            after.append(moment(model, words, session._state))
        assert after[-1].words == words
    words = words + words_of(session.finish())
    return Alone(after, moment(model, words, None))


@pytest.fixture(scope="module", params=["torch", "onnx"])
def model(
    request: pytest.FixtureRequest, exported: Path, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """Without closing silence, so that the last, short group of a stream matters."""
    path = tmp_path_factory.mktemp("model") / "model"
    if request.param == "torch":
        make_model_folder(path, tail_ms=0, decoder_layers=2)
    else:
        shutil.copytree(exported, path)
        config = yaml.safe_load((path / "config.yaml").read_text())
        (path / "config.yaml").write_text(yaml.safe_dump(config | {"tail_ms": 0}))
    model = load_model(path, backend=request.param)
    prefer_short_words(model)
    return model


def test_any_stream_of_a_batch_gives_the_words_of_a_separate_session_after_the_same_group(
    model: Model,
) -> None:
    machine = type("Batch", (AnyBatch,), {"model": model})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60 if isinstance(model.network, EchoStreamModel) else 20,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_separate_sessions_write_words_before_the_end(model: Model) -> None:
    for kind in range(len(SESSIONS)):
        sessions = [alone_session(model, kind, recording) for recording in range(len(RECORDINGS))]
        assert len({tuple(one.end.words) for one in sessions}) > 2
        assert sum(len({tuple(moment.words) for moment in one.after}) for one in sessions) > 6
