"""What the decoding methods write: at every group, never taken back, whatever the chunks are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from slow_decoder import (
    PAUSE,
    CtcRule,
    encode,
    forbid,
    method_of,
    part,
    silence,
    slow_decoder,
    write,
)
from slow_reference import greedy_ctc
from tiny_model import SAMPLE_RATE, babble, make_model_folder

from echostream import session_config
from echostream.config import ConfigError
from echostream.model_folder import Model, load_model
from echostream.models import CtcOutput
from echostream.session.decoder_policy import MAX_EXTRA_TOKENS
from echostream.session.decoding import DecodingState, NewTokens
from echostream.session.token_counts import TokenCounts
from echostream.session.translator import StreamingTranslator
from echostream.session_config import SessionConfig
from echostream.streaming import named_leaves, state_nbytes, take_rows
from echostream.streaming.clock import GROUP_MS

PAUSES = [(31, 12), (32, 16), (33, 40), (34, 13)]  # seed, first silent group
RECORDINGS = [(4.0, 21), (3.0, 22), (5.0, 23)]  # seconds, seed
POLICIES: list[dict[str, int]] = [
    {},
    {"lagging_k1": 2},
    {"stride_n": 3},
    {"lagging_k1": 1, "lagging_k2": 2, "stride_n": 2},
]
METHODS: list[tuple[str, dict[str, Any]]] = [
    *((kind, policy) for kind in ("ctc", "decoder") for policy in POLICIES),
    *(("decoder", {"policy": policy}) for policy in ("wait-k:2", "alignatt:3")),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(make_model_folder(tmp_path_factory.mktemp("model"), decoder_layers=2))


@pytest.fixture
def own_model(tmp_path: Path) -> Model:
    """A model that a test may change."""
    return load_model(make_model_folder(tmp_path, decoder_layers=2))


def counts_of(state: DecodingState) -> TokenCounts:
    return TokenCounts(*state.counts[0].tolist())


def with_counts(state: DecodingState, **changes: int) -> DecodingState:
    return state._replace(counts=torch.tensor([counts_of(state)._replace(**changes)]))


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("look_ahead", [0, 2])
def test_the_decoder_writes_the_tokens_of_recomputing_everything(
    model: Model, policy: dict[str, int], look_ahead: int
) -> None:
    output = silence(encode(model, 5.0, seed=3, look_ahead=look_ahead), 12, 17)
    wanted = slow_decoder(model, output, CtcRule(SessionConfig(**policy)))
    every_group = list(range(1, output.valid.shape[1] // 4))
    assert write(method_of(model, **policy), output, every_group) == wanted
    assert len(wanted) > 8 and len({token for token, _ in wanted}) > 3
    assert len({group for _, group in wanted}) > 3


@pytest.mark.parametrize(("kind", "policy"), METHODS, ids=str)
def test_chunks_change_when_a_token_is_shown_and_never_which(
    model: Model, kind: str, policy: dict[str, Any]
) -> None:
    output = silence(encode(model, 6.0, seed=4), 10, 15)
    method = method_of(model, kind, **policy)
    num_groups = output.valid.shape[1] // 4
    by_group = write(method, output, list(range(1, num_groups)))
    for size in (2, 3, 5, num_groups):
        cuts = list(range(size, num_groups, size))
        shown = [(t, min(num_groups, -(-group // size) * size)) for t, group in by_group]
        assert write(method, output, cuts) == shown


@pytest.mark.parametrize(("kind", "policy"), [METHODS[0], METHODS[4], *METHODS[-2:]], ids=str)
@pytest.mark.parametrize("look_ahead", [0, 1])
def test_how_samples_are_cut_does_not_change_the_text_and_nothing_is_taken_back(
    model: Model, kind: str, policy: dict[str, Any], look_ahead: int
) -> None:
    samples = babble(4, seed=5)
    options = {"max_future_frames": look_ahead, "decoding_method": kind, **policy}
    session = StreamingTranslator(model, **options)

    def words_by(size: int) -> list[str]:
        session.reset()
        words: list[str] = []
        for start in range(0, len(samples), size):
            for output in session.push(samples[start : start + size], SAMPLE_RATE):
                words += output.text.split()
        return words + [w for output in session.finish() for w in output.text.split()]

    whole = words_by(len(samples))
    assert len("".join(whole)) > 12
    assert words_by(160) == words_by(5120) == words_by(7001) == whole


def test_sessions_with_both_methods_may_share_a_model_and_be_interleaved(model: Model) -> None:
    samples = [babble(3, seed=6), babble(3, seed=7)]

    def alone(kind: str, mine: NDArray[np.float32]) -> list[str]:
        session = StreamingTranslator(model, decoding_method=kind)
        outputs = session.push(mine, SAMPLE_RATE) + session.finish()
        return [word for output in outputs for word in output.text.split()]

    sessions = [StreamingTranslator(model, decoding_method=kind) for kind in ("decoder", "ctc")]
    words: list[list[str]] = [[], []]
    for start in range(0, 3 * SAMPLE_RATE, 4000):
        for session, mine, written in zip(sessions, samples, words, strict=True):
            for output in session.push(mine[start : start + 4000], SAMPLE_RATE):
                written.extend(output.text.split())
    for session, written in zip(sessions, words, strict=True):
        written.extend(word for output in session.finish() for word in output.text.split())
    assert words == [alone("decoder", samples[0]), alone("ctc", samples[1])]


def test_a_decoder_whose_best_token_is_always_the_boundary_writes_nothing(
    own_model: Model,
) -> None:
    forbid(own_model, 1e4)
    assert write(method_of(own_model), encode(own_model, 4.0), [5]) == []


@pytest.mark.parametrize("by", [6.0, 7.0, 8.0])
def test_a_boundary_before_the_end_leaves_no_trace_in_the_state(
    own_model: Model, by: float
) -> None:
    output = silence(encode(own_model, 8.0, seed=12), 20, 26)
    every_group = list(range(1, output.valid.shape[1] // 4))
    fluent = slow_decoder(own_model, output, CtcRule(SessionConfig()))
    forbid(own_model, by)
    hesitant = slow_decoder(own_model, output, CtcRule(SessionConfig()))
    assert write(method_of(own_model), output, every_group) == hesitant
    assert 3 < len(hesitant) < len(fluent)


def test_a_decoder_that_wrote_nothing_may_write_with_more_frames(own_model: Model) -> None:
    method = method_of(own_model)
    output = encode(own_model, 5.0, seed=8)
    before, after = part(output, 0, 12), part(output, 12, 25)
    with torch.inference_mode():
        forbid(own_model, 1e4)
        (silent,), state = method.step(before, method.init_state(1))
        forbid(own_model, -2e4)
        (new,), state = method.step(part(after, 0, 1), state)
    assert silent.target == [] and counts_of(state).num_allowed > 1
    assert len(new.target) == new.num_emitted == counts_of(state).num_allowed


def test_a_decoder_that_never_ends_is_stopped(own_model: Model) -> None:
    forbid(own_model, -1e4)
    output = encode(own_model, 4.0)
    tokens = greedy_ctc(output.st_logits[0], output.valid[0])
    written = write(method_of(own_model), output, [7])
    assert len(written) == len(tokens) + MAX_EXTRA_TOKENS


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_never_more_is_written_than_the_counts_allow(model: Model, policy: dict[str, int]) -> None:
    method = method_of(model, **policy)
    output = encode(model, 6.0, seed=9)
    state, num_written = method.init_state(1), 0
    with torch.inference_mode():
        for group in range(output.valid.shape[1] // 4):
            (new,), state = method.step(part(output, group, group + 1), state)
            num_written += len(new.target)
            assert num_written == counts_of(state).num_decoded
            assert num_written <= max(0, counts_of(state).num_st - policy.get("lagging_k1", 0))


@pytest.mark.parametrize("pause", [PAUSE, PAUSE + 1, PAUSE + 5])
@pytest.mark.parametrize("lagging_k1", [0, 2])
def test_a_pause_ends_an_utterance_and_the_next_does_not_depend_on_it(
    model: Model, pause: int, lagging_k1: int
) -> None:
    method = method_of(model, lagging_k1=lagging_k1)
    first, other, second = (encode(model, seconds, seed) for seconds, seed in RECORDINGS)
    middle = silence(part(second, 0, pause), 0, pause)
    after = part(second, pause, second.valid.shape[1] // 4)
    written = []
    with torch.inference_mode():
        for before in (first, other, part(other, 0, 3)):
            _, state = method.step(before, method.init_state(1))
            _, state = method.step(middle, with_counts(state, num_silent=0))
            # The first one is written to its end: nothing is held back over the pause.
            counts = counts_of(state)
            assert counts.num_allowed == counts.num_st == counts.num_before
            # And the next one sees the whole pause, as far as the window goes.
            assert int(state.decoder.valid.sum()) == min(24, 4 * pause)
            (new,), state = method.step(after, with_counts(state, st_id=0))
            (last,), _ = method.finish(state)
            written.append(new.target + last.target)
    assert written[0] == written[1] == written[2]
    assert len(written[0]) > 5


def test_a_shorter_pause_ends_nothing(model: Model) -> None:
    method = method_of(model)
    with torch.inference_mode():
        _, state = method.step(encode(model, 4.0, seed=21), method.init_state(1))
        before = counts_of(state)
        short = silence(part(encode(model, 4.0, seed=22), 0, PAUSE - 1), 0, PAUSE - 1)
        _, state = method.step(short, with_counts(state, num_silent=0))
    assert counts_of(state).num_before == before.num_before == 0
    assert counts_of(state).num_decoded >= before.num_decoded > 0


@pytest.mark.parametrize("groups", [0, 1, 2, 7])
def test_an_utterance_ends_with_the_pause_of_the_options(model: Model, groups: int) -> None:
    method = method_of(model, utterance_pause_ms=160 * groups)
    quiet = silence(part(encode(model, 5.0, seed=22), 0, 20), 0, 20)
    with torch.inference_mode():
        _, state = method.step(encode(model, 4.0, seed=21), method.init_state(1))
        state = with_counts(state, num_silent=0, num_before=0)
        ended = []
        for group in range(20):
            (new,), state = method.step(part(quiet, group, group + 1), state)
            ended.append(new.ends)
    assert ended == [group + 1 == groups for group in range(20)]


def test_the_pause_of_an_utterance_is_in_groups() -> None:
    assert session_config._GROUP_MS == GROUP_MS
    with pytest.raises(ConfigError, match="`utterance_pause_ms` must be a multiple of 160"):
        SessionConfig(utterance_pause_ms=100)


def test_a_recording_that_is_one_utterance_is_written_at_its_end(model: Model) -> None:
    session = StreamingTranslator(
        model, decoding_method="decoder", policy="wait-k:999", utterance_pause_ms=0
    )
    samples = np.concatenate([babble(3.0, seed=5), np.zeros(2 * SAMPLE_RATE, np.float32)] * 2)
    assert not any(output.words for output in session.push(samples, SAMPLE_RATE))
    assert any(output.words for output in session.finish())


@pytest.mark.parametrize("kind", ["ctc", "decoder"])
def test_nothing_is_written_when_there_was_nothing(model: Model, kind: str) -> None:
    method = method_of(model, kind)
    nothing = part(encode(model, 1.0), 0, 0)
    (new,), state = method.step(nothing, method.init_state(1))
    (last,), _ = method.finish(state)
    assert new == last == NewTokens([], [], 0)


@pytest.mark.parametrize(("kind", "policy"), METHODS, ids=str)
def test_streams_in_one_batch_are_decoded_as_each_alone(
    model: Model, kind: str, policy: dict[str, Any]
) -> None:
    """Their pauses, and so the steps of the decoder, come at different groups."""
    outputs = [silence(encode(model, 6.0, seed), start, start + 5) for seed, start in PAUSES]
    together = CtcOutput(*(torch.cat(fields) for fields in zip(*outputs, strict=True)))
    method = method_of(model, kind, **policy)
    with torch.inference_mode():
        state = method.init_state(len(outputs))
        alone = [method.init_state(1) for _ in outputs]
        for start, stop in pairwise([0, 1, 3, 11, 12, 20, together.valid.shape[1] // 4]):
            found, state = method.step(part(together, start, stop), state)
            for row, output in enumerate(outputs):
                (wanted,), alone[row] = method.step(part(output, start, stop), alone[row])
                assert found[row] == wanted
        found, state = method.finish(state)
        for row, mine in enumerate(alone):
            (wanted,), last = method.finish(mine)
            assert found[row] == wanted
            for (name, a), (_, b) in zip(
                named_leaves(take_rows(state, [row])), named_leaves(last), strict=True
            ):
                torch.testing.assert_close(a, b, msg=lambda text, name=name: f"{name}: {text}")


def test_the_state_of_a_method_keeps_its_size_and_is_a_value(model: Model) -> None:
    method = method_of(model)
    fresh = method.init_state(1)
    with torch.inference_mode():
        _, late = method.step(encode(model, 20.0, seed=10), fresh)
        assert state_nbytes(fresh) == state_nbytes(late) > 0
        output = encode(model, 3.0, seed=11)
        assert method.step(output, fresh)[0] == method.step(output, method.init_state(1))[0]


def test_a_method_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    plain = load_model(make_model_folder(tmp_path))
    with pytest.raises(
        ValueError, match=r"`decoding_method` must be ctc for this model.*'decoder' instead"
    ):
        StreamingTranslator(plain, decoding_method="decoder")
    with pytest.raises(
        ValueError, match="`decoding_method` must be one of ctc, decoder, but is 'beam'"
    ):
        StreamingTranslator(plain, decoding_method="beam")
