"""The READ/WRITE policy, as a table of counts and what must follow from them."""

from __future__ import annotations

import random

import pytest

from echostream.session.policy import (
    Action,
    Counts,
    PolicyState,
    Read,
    Write,
    decide,
)
from echostream.session_config import SessionConfig

R = Read()


def W(num_tokens: int) -> Write:
    return Write(num_tokens)


def actions(policy: SessionConfig, rows: list[tuple[int, int]]) -> list[Action]:
    """What the policy does at each row of (ASR count, ST count), one stream."""
    state, out = PolicyState(), []
    for num_asr, num_st in rows:
        action, state = decide(Counts(num_asr, num_st), state, policy)
        out.append(action)
    return out


@pytest.mark.parametrize(
    ("policy", "rows", "expected"),
    [
        pytest.param(SessionConfig(), [(0, 0)], [R], id="no tokens"),
        pytest.param(SessionConfig(), [(1, 0), (1, 1)], [R, W(1)], id="both heads need tokens"),
        pytest.param(SessionConfig(), [(0, 1), (1, 1)], [R, W(1)], id="target alone is not enough"),
        pytest.param(
            SessionConfig(), [(1, 1), (1, 2), (2, 2)], [W(1), R, W(1)],
            id="both must grow",
        ),
        pytest.param(SessionConfig(), [(1, 1), (1, 1)], [W(1), R], id="no growth, no write"),
        pytest.param(SessionConfig(), [(3, 5)], [W(5)], id="all that is known at once"),
        pytest.param(
            SessionConfig(lagging_k1=2), [(1, 1), (2, 2), (3, 3), (4, 5)], [R, R, W(1), W(2)],
            id="k1 = 2",
        ),
        pytest.param(
            SessionConfig(lagging_k1=2), [(9, 2), (9, 3)], [R, W(1)],
            id="a failed gate does not move on",
        ),
        pytest.param(
            SessionConfig(lagging_k2=2), [(1, 4), (2, 4), (3, 4), (4, 5)], [R, R, W(4), W(1)],
            id="k2 = 2",
        ),
        pytest.param(
            SessionConfig(lagging_k1=1, lagging_k2=1), [(1, 2), (2, 2)], [R, W(1)], id="k1 = k2 = 1"
        ),
        pytest.param(
            SessionConfig(stride_n=2), [(1, 2), (2, 2), (3, 3), (4, 4)], [R, W(2), R, W(2)],
            id="n = 2",
        ),
        pytest.param(
            SessionConfig(stride_n=2), [(2, 3), (4, 4), (4, 5)], [W(2), R, W(2)],
            id="n = 2: growth counts from the last write",
        ),
        pytest.param(
            SessionConfig(stride_n=2, lagging_k1=1), [(2, 2), (2, 3), (4, 5)], [R, W(2), W(2)],
            id="n = 2, k1 = 1: budget rounds down",
        ),
        pytest.param(
            SessionConfig(stride_n=3), [(3, 5), (6, 8), (9, 9)], [W(3), W(3), R],
            id="n = 3 keeps a rest",
        ),
    ],
)  # fmt: skip
def test_table(policy: SessionConfig, rows: list[tuple[int, int]], expected: list[Action]) -> None:
    assert actions(policy, rows) == expected


@pytest.mark.parametrize(
    ("state", "counts", "expected"),
    [
        (PolicyState(), (0, 0), W(0)),
        (PolicyState(), (0, 3), W(3)),
        (PolicyState(4, 5, 2), (4, 5), W(3)),
        (PolicyState(4, 5, 5), (4, 5), W(0)),
    ],
)
def test_a_finished_source_writes_everything(
    state: PolicyState, counts: tuple[int, int], expected: Action
) -> None:
    policy = SessionConfig(lagging_k1=7, lagging_k2=9, stride_n=4)
    action, after = decide(Counts(*counts, source_finished=True), state, policy)
    assert action == expected
    assert after.num_written == counts[1]


def test_the_number_written_never_shrinks_and_never_passes_the_lagging() -> None:
    rng = random.Random(0)
    for _ in range(300):
        policy = SessionConfig(
            lagging_k1=rng.randrange(4),
            lagging_k2=rng.randrange(4),
            stride_n=rng.randrange(1, 4),
        )
        num_asr = num_st = written = 0
        state = PolicyState()
        for _ in range(20):
            num_asr, num_st = num_asr + rng.randrange(3), num_st + rng.randrange(3)
            action, after = decide(Counts(num_asr, num_st), state, policy)
            if isinstance(action, Read):
                assert after == state
            else:
                assert action.num_tokens >= 1
                written += action.num_tokens
                assert written % policy.stride_n == 0
                assert written <= num_st - policy.lagging_k1
                assert num_asr > policy.lagging_k2
            state = after
            assert state.num_written == written
        action, state = decide(Counts(num_asr, num_st, True), state, policy)
        assert isinstance(action, Write) and written + action.num_tokens == num_st


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lagging_k1", -1),
        ("lagging_k2", -3),
        ("stride_n", 0),
        ("stride_n", 1.5),
        ("stride_n", True),
    ],
)
def test_a_bad_parameter_is_named_with_what_is_allowed(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be an integer >= \d, but is {value!r}"):
        SessionConfig(**{name: value})  # type: ignore[arg-type]


def test_counts_that_shrink_are_refused() -> None:
    with pytest.raises(ValueError, match="never shrink"):
        decide(Counts(1, 5), PolicyState(2, 5, 5), SessionConfig())
    with pytest.raises(ValueError, match="never shrink"):
        decide(Counts(2, 4), PolicyState(2, 5, 5), SessionConfig())
