"""The silence that SimulEval put into speech: StreamSpeech's rule to the bit, and the log's."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray
from run_logs import speech_line

from echostream.scoring.judge.silence import (
    playing_time,
    streamspeech_rule,
    without_silence,
    writes_of,
)
from echostream.scoring.log import Utterance

RATE = 16_000


def utterance(delays: list[float], durations: list[float]) -> Utterance:
    return Utterance(0, "0_pred.wav", "a", tuple(delays), (), 4000.0, durations=tuple(durations))


def slow_rule(samples: list[int]) -> list[int]:
    """StreamSpeech's condition for each sample, with the recording as a ring."""
    length = len(samples)
    kept = []
    for place, value in enumerate(samples):
        ahead = all(samples[(place + step) % length] == 0 for step in range(10))
        behind = all(samples[(place - step) % length] == 0 for step in range(10))
        if not (ahead or behind):
            kept.append(value)
    return kept


@pytest.mark.parametrize("run", [1, 9, 10, 11, 14, 17, 18, 19, 40])
def test_streamspeechs_rule_keeps_the_middle_of_runs_from_11_to_17_zeros(run: int) -> None:
    samples = [5] * 12 + [0] * run + [7] * 12
    left = len(streamspeech_rule(np.array(samples, np.int16))) - 24
    assert left == (run if run < 10 else max(0, 18 - run))


@pytest.mark.parametrize("seed", range(30))
def test_streamspeechs_rule_is_that_of_a_loop_over_the_samples(seed: int) -> None:
    rng = random.Random(seed)
    samples: list[int] = []
    for _ in range(rng.randint(1, 6)):
        samples += [0] * rng.choice([0, 1, 5, 9, 10, 11, 17, 18, 30])
        samples += [rng.choice([-1, 1, 3000])] * rng.randint(0, 12)
    samples = samples or [0]
    assert streamspeech_rule(np.array(samples, np.int16)).tolist() == slow_rule(samples)


def as_simuleval_plays(
    contents: list[NDArray[np.int16]], delays: list[float], rate: int
) -> NDArray[np.int16]:
    """The recording as SpeechOutputInstance.summarize makes it, written down from its rules."""
    played: list[int] = []
    end = delays[0]
    for content, delay in zip(contents, delays, strict=True):
        if delay > end:
            played += [0] * int(rate * (delay - end) / 1000)
            end = delay
        played += content.tolist()
        end += 1000 * len(content) / rate
    return np.array(played, np.int16)


@pytest.mark.parametrize("rate", [16_000, 22_050])
@pytest.mark.parametrize("seed", range(15))
def test_without_silence_the_recording_is_what_the_system_wrote(seed: int, rate: int) -> None:
    rng = np.random.default_rng(seed)
    delays = np.cumsum(rng.choice([0.0, 320.0, 333.4375, 2000.0], size=6)) + 320
    contents = [
        rng.integers(-9, 9, size=rng.integers(1, rate)).astype(np.int16) for _ in delays
    ]  # with zeros of its own
    played = as_simuleval_plays(contents, delays.tolist(), rate)
    one = utterance(delays.tolist(), [1000 * len(content) / rate for content in contents])
    writes = writes_of(one, rate)
    assert without_silence(played, writes).tolist() == np.concatenate(contents).tolist()


def test_a_recording_into_which_no_silence_was_put_is_whole() -> None:
    one = utterance([100.0, 2000.0], [500.0, 500.0])
    samples = np.arange(RATE, dtype=np.int16)  # 1 s: StreamSpeech's users take the silence out
    assert without_silence(samples, writes_of(one, RATE)).tolist() == samples.tolist()


def test_a_recording_of_another_length_is_not_that_of_the_log() -> None:
    one = utterance([100.0, 2000.0], [500.0, 500.0])
    with pytest.raises(ValueError, match="123 samples are not the 38400 of its writes"):
        without_silence(np.zeros(123, np.int16), writes_of(one, RATE))


@pytest.mark.parametrize("seed", range(5))
def test_writes_are_the_intervals_of_the_log(seed: int) -> None:
    rng = random.Random(seed)
    delays = sorted(rng.uniform(0, 4000) for _ in range(8))
    durations = [rng.uniform(1, 900) for _ in delays]
    intervals = speech_line(0, delays, durations)["intervals"]
    found = [[w.start_ms, w.duration_ms] for w in writes_of(utterance(delays, durations), RATE)]
    assert found == intervals


def test_a_time_within_a_write_is_played_when_the_write_is() -> None:
    writes = writes_of(utterance([1000.0, 1200.0, 3000.0], [500.0, 300.0, 200.0]), RATE)
    # Played from 1000 to 1800 without a gap, and from 3000 on.
    spoken = [0.0, 499.0, 500.0, 501.0, 800.0, 800.5, 1000.0, 1500.0]
    played = [1000.0, 1499.0, 1500.0, 1501.0, 1800.0, 3000.5, 3200.0, 3200.0]
    assert [playing_time(writes, one) for one in spoken] == pytest.approx(played)
