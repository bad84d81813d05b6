"""ATD and the offsets: tables by hand, and the scorers of SimulEval themselves."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest
from run_logs import speech_line, text_line
from simuleval.evaluator.instance import LogInstance
from simuleval.evaluator.scorers import get_scorer_class

from echostream.scoring.metrics.atd import speech_token_delay, text_token_delay
from echostream.scoring.metrics.offsets import end_offset, start_offset
from echostream.scoring.metrics.table import playback_ends
from echostream.scoring.timeline import Timeline

# times of the text tokens -> ATD. The source is cut every 300 ms, anew after each write; below,
# "y - x" is the time of a token less the end of its partner.
TEXT_BY_HAND = {
    # Source ends 300, 600 | 900. 600 - 300, 600 - 600, 900 - 900.
    "as many tokens as the source": ([600, 600, 900], 300 / 3),
    # Source ends 300 | 600, 900. The first write was two tokens ahead of its source, so the
    # fourth token goes back by two, to the second: 300 - 300 three times, 900 - 600.
    "a first write that is too long": ([300, 300, 300, 900], 300 / 4),
    # Source ends 300, 400: what is left of a stretch is a token of its own. 400 - 300.
    "a stretch that is no multiple": ([400], 100),
    # Source ends 300, 400 | 700. 400 - 300, 700 - 400: the cuts begin anew at 400.
    "cuts begin anew": ([400, 700], (100 + 300) / 2),
    # One source token for three of the target: the later ones have the last as their partner.
    "more tokens than source": ([300, 300, 300], 0),
    "written before any audio": ([0, 300], 0),
}


@pytest.mark.parametrize(("delays", "atd"), TEXT_BY_HAND.values(), ids=TEXT_BY_HAND)
def test_text_token_delay_is_what_the_definition_gives_by_hand(
    delays: list[float], atd: float
) -> None:
    assert text_token_delay(delays) == pytest.approx(atd, abs=1e-9)


def test_compute_delays_a_token_and_those_after_it() -> None:
    # Spent on each: 100, 0 and 50 ms. Ends: 600 + 100, then 700 (nothing more was spent), then
    # 900 + 50. Partners end at 300, 600, 900: 400 + 100 + 50.
    assert text_token_delay([600, 600, 900], [700, 700, 1050]) == pytest.approx(550 / 3)


def test_speech_counts_as_tokens_of_300_ms_that_are_heard_one_after_the_other() -> None:
    # 450 ms at 600 are tokens of 300 and 150 ms, which end at 900 and 1050; the 300 ms at 900 wait
    # for them and end at 1350. Partners end at 300, 600, 900: 600 + 450 + 450.
    assert speech_token_delay([600, 900], [450, 300]) == pytest.approx(1500 / 3)


def test_writes_of_speech_at_one_time_are_one_write() -> None:
    assert speech_token_delay([600, 600], [200, 250]) == speech_token_delay([600], [450])


def random_times(rng: random.Random) -> tuple[float, list[float], list[float]]:
    """A source length, delays that never go back, and times with compute."""
    source = rng.choice([320.0, 4000.0, 12345.67])
    delays = sorted(
        min(source, 320.0 * rng.randint(1, 45)) for _ in range(rng.choice([1, 2, 7, 30]))
    )
    compute, elapsed, before = 0.0, [], None
    for delay in delays:
        compute += 0 if delay == before else rng.uniform(0, 400)
        elapsed.append(delay + compute)
        before = delay
    return source, delays, elapsed


@pytest.mark.parametrize("seed", range(20))
def test_token_delay_and_offsets_of_text_are_simulevals(seed: int) -> None:
    source, delays, elapsed = random_times(random.Random(seed))
    line = text_line(0, "word " * len(delays), delays, elapsed=elapsed, source_length=source)
    theirs = {0: LogInstance(json.dumps(line))}

    def by_simuleval(name: str, aware: bool) -> Any:
        return get_scorer_class("latency", name)(computation_aware=aware)(theirs)

    assert text_token_delay(delays) == pytest.approx(by_simuleval("ATD", False), abs=1e-6)
    assert text_token_delay(delays, elapsed) == pytest.approx(by_simuleval("ATD", True), abs=1e-6)
    for aware, times in ((False, delays), (True, elapsed)):
        assert start_offset(times) == by_simuleval("StartOffset", aware)
        assert end_offset(times, source) == pytest.approx(by_simuleval("EndOffset", aware))


@pytest.mark.parametrize("seed", range(20))
def test_token_delay_and_offsets_of_speech_are_simulevals(seed: int) -> None:
    rng = random.Random(seed)
    source, delays, _ = random_times(rng)
    durations = [rng.choice([20.0, 300.0, 312.5, 1700.0]) for _ in delays]
    # Anything that is neither a log nor an instance of text is scored as speech.
    live = {0: SimpleNamespace(delays=delays, durations=durations)}
    theirs = get_scorer_class("latency", "ATD")()(live)
    assert speech_token_delay(delays, durations) == pytest.approx(theirs, abs=1e-6)
    logged = {0: LogInstance(json.dumps(speech_line(0, delays, durations, source_length=source)))}
    timeline = Timeline(tuple(delays), (), source, 1, tuple(durations))
    assert end_offset(playback_ends(timeline), source) == pytest.approx(
        get_scorer_class("latency", "EndOffset")()(logged)
    )


def test_the_end_of_speech_is_when_it_has_been_heard() -> None:
    timeline = Timeline((1000.0, 1500.0, 4000.0), (), 4000.0, 4, (800.0, 100.0, 250.0))
    assert playback_ends(timeline) == [1800.0, 1900.0, 4250.0]


def test_times_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="`delays` must hold at least one token"):
        text_token_delay([])
    with pytest.raises(ValueError, match="`delays` must not go back"):
        text_token_delay([600, 300])
    with pytest.raises(ValueError, match="`elapsed` must have 2 values"):
        text_token_delay([300, 600], [300])
    with pytest.raises(ValueError, match="`durations` must be 1 positive numbers"):
        speech_token_delay([300], [0])
    with pytest.raises(ValueError, match="`times` must hold at least one word"):
        start_offset([])
    with pytest.raises(ValueError, match="`times` must hold at least one word"):
        end_offset([], 100)
