"""The models and streams of the benchmarks are as described."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.agent import long_recording, make_agent, overheads, timed_sessions
from benchmarks.fixtures import FULL, QUICK, make_distinct, opened
from benchmarks.reencode import reencode
from benchmarks.streams import FeatureStream, SessionStream, count_flops
from benchmarks.synthetic_audio import SyntheticAudio, pseudo_text
from echostream.model_folder import load_model
from echostream.models.build import build_encoder
from echostream.session.translator import StreamingTranslator
from echostream.streaming import GROUP_FRAMES, GROUP_OUTPUTS, SAMPLE_RATE, state_nbytes


def test_no_weight_is_zero_or_one_and_no_two_parts_are_equal() -> None:
    encoder = build_encoder(QUICK.config.encoder)
    make_distinct(encoder)
    parameters = list(encoder.parameters())
    assert not any(((p == 0) | (p == 1)).any() for p in parameters)
    values = [tuple(p.flatten().tolist()) for p in parameters]
    assert len(set(values)) == len(values)


def test_the_full_encoder_is_the_default_one() -> None:
    encoder = build_encoder(FULL.config.encoder)
    assert 40e6 < sum(p.numel() for p in encoder.parameters()) < 44e6
    assert FULL.config.st_layers == 2


def test_a_session_on_random_weights_writes_words_at_a_normal_rate() -> None:
    with opened(QUICK) as bench:
        model = load_model(bench.model_folder)
        stream = SessionStream(StreamingTranslator(model))
        words = [word for _ in range(60) for out in stream.step() for word in out.text.split()]
    assert 0.1 * 19.2 < len(words) < 8 * 19.2  # of 19.2 s


def test_the_model_of_the_session_has_the_encoder_that_is_measured_alone() -> None:
    with opened(QUICK) as bench:
        encoder = load_model(bench.model_folder).network.encoder
        for name, weight in encoder.state_dict().items():
            assert torch.equal(weight, bench.encoder.state_dict()[name]), name


def test_a_stream_advances_to_a_time() -> None:
    encoder = build_encoder(QUICK.config.encoder).eval()
    stream = FeatureStream(encoder, step_ms=160, batch=2)
    calls = []
    step = stream.step
    stream.step = lambda: (calls.append(0), step())[1]  # type: ignore[assignment,func-returns-value]
    with torch.inference_mode():
        stream.advance_to(1.0)
        stream.advance_to(1.0)
        stream.advance_to(1.28)
    assert len(calls) == 8
    assert stream.nbytes() == state_nbytes(encoder.init_state(2, 0))


def test_audio_follows_from_the_seed_and_goes_on() -> None:
    one, other = SyntheticAudio(3), SyntheticAudio(3)
    first = one.next(SAMPLE_RATE)
    assert first.dtype == np.float32
    assert first.shape == (SAMPLE_RATE,)
    assert np.array_equal(first, other.next(SAMPLE_RATE))
    assert not np.array_equal(first, one.next(SAMPLE_RATE))
    assert np.abs(first).max() < 1
    assert pseudo_text(100, 1) == pseudo_text(100, 1) != pseudo_text(100, 2)


def test_operations_are_those_of_the_products() -> None:
    """One linear layer in place of an encoder: 2 x frames x width x width, for each stream."""

    class Linear(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = torch.nn.Linear(80, 80)

        def init_state(self, batch: int, look_ahead: int) -> tuple[()]:
            return ()

        def step(self, x: torch.Tensor, state: tuple[()]) -> tuple[torch.Tensor, tuple[()]]:
            return self.project(x), state

    with torch.inference_mode():  # as in a run
        assert count_flops(Linear(), batch=3, step_ms=320) == 3 * 32 * 2 * 80 * 80


def test_the_time_of_a_call_less_the_sessions_is_not_negative_nor_the_whole() -> None:
    samples = long_recording(2)
    assert samples.shape == (2 * SAMPLE_RATE,)
    with opened(QUICK) as bench:
        agent = make_agent(str(bench.model_folder))
        push = StreamingTranslator.push
        whole = []

        def call(values: list[float], is_last: bool) -> float:
            agent.states.source_sample_rate = SAMPLE_RATE
            agent.states.source.extend(values)
            agent.policy()
            whole.append(1000.0)
            return 1000.0

        found = overheads(agent, call, samples)
    assert len(found) == len(whole) - 1
    assert all(0 < one < 1000.0 for one in found)
    assert StreamingTranslator.push is push


def test_sessions_are_timed_only_in_the_block() -> None:
    with opened(QUICK) as bench:
        stream = SessionStream(StreamingTranslator(load_model(bench.model_folder)))
        with timed_sessions() as spent:
            stream.step()
            stream.step()
        stream.step()
    assert len(spent) == 2
    assert min(spent) > 0


def test_one_step_over_all_audio_is_the_re_encoding() -> None:
    with opened(QUICK) as bench, torch.inference_mode():
        for seconds in (2, 3):  # 12.5 and 18.75 groups
            whole = reencode(bench, bench.encoder, "torch", seconds)()
            stepped, _ = reencode(bench, bench.encoder, "onnx", seconds)()  # type: ignore[misc]
            # Frames beyond the end are silence to the one and masked for the other.
            size = 100 * seconds // GROUP_FRAMES * GROUP_OUTPUTS
            encoded = whole.encoder_out[:, :size]  # type: ignore[attr-defined]
            assert torch.allclose(encoded, stepped[:, :size], atol=1e-4)
