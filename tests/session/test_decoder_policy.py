"""Policies of the text decoder that need no ST head: what they write, and after which group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import slow_decoder as slow
import torch
from tiny_model import make_model_folder, prefer_short_words

from echostream.model_folder import Model, load_model
from echostream.session.decoder_policy import MAX_MORE_TOKENS, MAX_RATIO
from echostream.session.translator import StreamingTranslator
from echostream.session_config import POLICIES, SessionConfig
from echostream.streaming import state_nbytes

PAUSE = (12, 17)  # groups


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    model = load_model(make_model_folder(tmp_path_factory.mktemp("model"), decoder_layers=2))
    prefer_short_words(model)
    return model


@pytest.fixture
def own_model(tmp_path: Path) -> Model:
    """A model that a test may change."""
    return load_model(make_model_folder(tmp_path, decoder_layers=2))


@pytest.mark.parametrize("look_ahead", [0, 2])
@pytest.mark.parametrize(
    "policy", ["wait-k:1", "wait-k:3", "alignatt:2", "alignatt:3", "alignatt:14"]
)
def test_a_policy_writes_the_tokens_of_recomputing_everything(
    model: Model, policy: str, look_ahead: int
) -> None:
    output = slow.silence(slow.encode(model, 5.0, seed=3, look_ahead=look_ahead), *PAUSE)
    name, number = policy.split(":")
    rule = (
        slow.WaitKRule(int(number), model) if name == "wait-k" else slow.AlignAttRule(int(number))
    )
    wanted = slow.slow_decoder(model, output, rule)
    assert slow.write(slow.method_of(model, policy=policy), output, every_group(output)) == wanted
    assert len(wanted) > 8 and len({group for _, group in wanted}) > 3


def every_group(output: Any) -> list[int]:
    return list(range(1, output.valid.shape[1] // 4))


@pytest.mark.parametrize("k", [1, 2, 4, 7])
def test_the_target_words_stay_k_source_words_behind_until_the_source_ends(
    model: Model, k: int
) -> None:
    method, output = slow.method_of(model, policy=f"wait-k:{k}"), slow.encode(model, 6.0, seed=9)
    state, source, target = method.init_state(1), list[int](), list[int]()
    reached = False
    with torch.inference_mode():
        for group in range(output.valid.shape[1] // 4):
            (new,), state = method.step(slow.part(output, group, group + 1), state)
            assert not new.ends  # a pause would begin to count anew
            source, target = source + new.source, target + new.target
            allowed = max(0, slow.count_words(model.source_tokenizer, source) - k + 1)
            assert slow.count_words(model.target_tokenizer, target) <= allowed
            reached |= 0 < allowed == slow.count_words(model.target_tokenizer, target)
    assert reached


def test_a_larger_number_writes_no_token_sooner(model: Model) -> None:
    output = slow.encode(model, 4.0, seed=9)
    for name, numbers in (("wait-k", (1, 2, 4)), ("alignatt", (1, 4, 999))):
        groups = []
        for number in numbers:
            written = slow.write(
                slow.method_of(model, policy=f"{name}:{number}"), output, every_group(output)
            )
            groups.append([group for _, group in written[:5]])
        assert groups == sorted(groups) and groups[0] < groups[-1]


def test_a_decoder_that_looks_at_the_newest_frames_alone_writes_at_the_end(model: Model) -> None:
    output = slow.encode(model, 4.0, seed=21)
    written = slow.write(slow.method_of(model, policy="alignatt:999"), output, every_group(output))
    assert {group for _, group in written} == {output.valid.shape[1] // 4}


@pytest.mark.parametrize("policy", ["wait-k:1", "alignatt:1"])
def test_a_decoder_that_never_ends_is_stopped_in_proportion_to_what_was_found(
    own_model: Model, policy: str
) -> None:
    slow.forbid(own_model, -1e4)
    for seconds in (2.0, 6.0):
        output = slow.encode(own_model, seconds)
        with torch.inference_mode():
            found, _ = slow.method_of(own_model).step(
                output, slow.method_of(own_model).init_state(1)
            )
        written = slow.write(slow.method_of(own_model, policy=policy), output, [7])
        assert len(written) == MAX_RATIO * len(found[0].source) + MAX_MORE_TOKENS


@pytest.mark.parametrize("policy", ["wait-k:1", "alignatt:1"])
def test_nothing_is_written_of_a_source_without_words(own_model: Model, policy: str) -> None:
    slow.forbid(own_model, -1e4)
    output = slow.encode(own_model, 3.0)
    output = slow.silence(output, 0, output.valid.shape[1] // 4)
    assert slow.write(slow.method_of(own_model, policy=policy), output, [3]) == []


@pytest.mark.parametrize("policy", ["wait-k:2", "alignatt:3"])
def test_the_st_head_has_no_effect_but_on_pauses(model: Model, policy: str) -> None:
    output = slow.encode(model, 5.0, seed=3)
    logits = output.st_logits.clone()
    logits[:, :, 0] += 1e4
    method = slow.method_of(model, policy=policy)
    assert slow.write(method, output._replace(st_logits=logits), [5]) == slow.write(
        method, output, [5]
    )
    assert slow.write(slow.method_of(model), output._replace(st_logits=logits), [5]) == []


@pytest.mark.parametrize("policy", ["wait-k:2", "alignatt:3"])
def test_the_state_of_a_policy_keeps_its_size_and_is_a_value(model: Model, policy: str) -> None:
    method = slow.method_of(model, policy=policy)
    fresh = method.init_state(1)
    with torch.inference_mode():
        first, late = method.step(slow.encode(model, 8.0, seed=10), fresh)
        assert state_nbytes(fresh) == state_nbytes(late) > 0
        assert method.step(slow.encode(model, 8.0, seed=10), fresh)[0] == first


@pytest.mark.parametrize(
    "policy",
    [
        *("beam", "wait-k", "wait-k:", "wait-k:0", "wait-k:-1", "wait-k:1.5"),
        *("alignatt:03", "ctc:1", "wait-k:1000", "wait-k:3\n", None, 3),
    ],
)
def test_a_policy_that_is_none_is_refused(policy: Any) -> None:
    with pytest.raises(ValueError, match="`policy` must be") as error:
        SessionConfig(decoding_method="decoder", policy=policy)
    assert str(error.value) == f"`policy` must be {POLICIES}, but is {policy!r} instead."


def test_options_that_a_policy_does_not_use_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`decoding_method` must be decoder .* but is ctc"):
        SessionConfig(policy="wait-k:3")
    for option, allowed in (("lagging_k1", 0), ("lagging_k2", 0), ("stride_n", 1)):
        message = rf"`{option}` must be {allowed} with the policy alignatt:2, .* but is 2 instead"
        with pytest.raises(ValueError, match=message):
            SessionConfig(decoding_method="decoder", policy="alignatt:2", **{option: 2})


def test_a_policy_needs_a_text_decoder(tmp_path: Path) -> None:
    plain = load_model(make_model_folder(tmp_path))
    with pytest.raises(ValueError, match="`decoding_method` must be ctc for this model"):
        StreamingTranslator(plain, decoding_method="decoder", policy="wait-k:1")
