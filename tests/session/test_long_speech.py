"""Ten minutes of a stream that speaks: the cut does not matter, and nothing grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from spoken import wave
from tiny_model import SAMPLE_RATE, babble
from tiny_speech import make_speaking_folder

from echostream.model_folder import Model, load_model
from echostream.session.translator import StreamingTranslator

MINUTES = 10
CUT_MINUTES = (0, MINUTES - 1)  # the others are pushed at once, which is quicker
TURN_S, SPEECH_S = 20, 3  # someone speaks for 3 s, every 20 s

Sizes = Callable[[np.random.Generator], int]
CUTS: dict[str, Sizes] = {
    "10 ms": lambda rng: 160,
    "320 ms": lambda rng: 5120,
    "random": lambda rng: int(rng.choice([0, 1, 159, 2559, 2560, 2561, 9000, 40_000])),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Its words are short, so that the text does not come faster than it can be spoken."""
    return load_model(make_speaking_folder(tmp_path_factory.mktemp("speaking"), max_duration=12))


def minute_of_source(number: int) -> NDArray[np.float32]:
    turns = 60 // TURN_S
    silence = np.zeros((TURN_S - SPEECH_S) * SAMPLE_RATE, np.float32)
    parts = [babble(SPEECH_S, seed=number * turns + turn) for turn in range(turns)]
    return np.concatenate([part for speech in parts for part in (speech, silence)])


def pieces(samples: NDArray[Any], sizes: Sizes, rng: np.random.Generator) -> list[NDArray[Any]]:
    found, start = [], 0
    while start < len(samples):
        size = sizes(rng)
        found.append(samples[start : start + size])
        start += size
    return found


class Run:
    """The speech of each minute of a session, and what it holds after each."""

    def __init__(self, model: Model, sizes: Sizes | None) -> None:
        session = StreamingTranslator(model, speech=True)
        rng = np.random.default_rng(0)
        self.waves: list[NDArray[np.float32]] = []
        self.held: list[tuple[int, int, float]] = []
        for number in range(MINUTES):
            samples = minute_of_source(number)
            whole = sizes is None or number not in CUT_MINUTES
            parts = [samples] if whole else pieces(samples, sizes, rng)  # type: ignore[arg-type]
            self.waves.append(
                wave([output for part in parts for output in session.push(part, SAMPLE_RATE)])
            )
            queue = session._stream.speech
            waiting = len(queue.waiting) + len(queue.samples) + len(queue.units)
            self.held.append((session.state_nbytes, waiting, session.backlog_ms))
        self.waves.append(wave(session.finish()))
        self.longest_backlog_ms = session.longest_backlog_ms


@pytest.fixture(scope="module")
def whole(model: Model) -> Run:
    return Run(model, None)


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
def test_the_cut_of_the_source_changes_no_bit_of_ten_minutes_of_speech(
    model: Model, whole: Run, cut: str
) -> None:
    """Exactly, though float32: the words and their groups are the same, and each is computed
    alone, with the state that the words before it have left."""
    found = Run(model, CUTS[cut])
    assert all(len(minute) > SAMPLE_RATE for minute in whole.waves[:MINUTES])
    for minute, wanted in zip(found.waves, whole.waves, strict=True):
        np.testing.assert_array_equal(minute, wanted)
    assert found.longest_backlog_ms == whole.longest_backlog_ms
    assert found.held == whole.held


@pytest.mark.slow
def test_a_session_holds_as_much_after_ten_minutes_as_after_one(whole: Run) -> None:
    nothing_waits = [(whole.held[0][0], 0, 0.0)] * MINUTES
    assert whole.held == nothing_waits
    assert 0 < whole.longest_backlog_ms < 1000
