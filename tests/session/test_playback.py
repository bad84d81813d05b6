"""Playing: speech in order on the time of the source, with any device, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_model import SAMPLE_RATE, babble, pieces
from tiny_speech import make_speaking_folder

from echostream.session.playback import FADE, Playback
from echostream.session.stream import Output
from echostream.session.translator import StreamingTranslator

TICK = 160  # samples of 10 ms


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Output], float]:
    """The outputs of 20 s in pieces of a group, and the longest backlog in samples."""
    session = StreamingTranslator.load(
        make_speaking_folder(tmp_path_factory.mktemp("speaking")), speech=True
    )
    outputs = []
    for piece in pieces(babble(20, seed=4), 2560):
        outputs += session.push(piece, SAMPLE_RATE)
    outputs += session.finish()
    return outputs, session.longest_backlog_ms * SAMPLE_RATE / 1000


def all_samples(outputs: list[Output]) -> NDArray[np.float32]:
    return np.concatenate([np.zeros(0, np.float32), *(output.samples for output in outputs)])


def test_speech_is_played_in_order_and_silence_fills_the_time_between(
    spoken: tuple[list[Output], float],
) -> None:
    outputs, _ = spoken
    playback, end = Playback(), 0
    for output in outputs:
        playback.add(output)
        if len(output.samples):
            start = max(end, round(output.delay_ms * SAMPLE_RATE / 1000))
            assert not playback.samples[end:start].any()
            faded = FADE if start > end else 0
            np.testing.assert_array_equal(playback.samples[start:][faded:], output.samples[faded:])
            end = len(playback.samples)
    words = [word for said in playback.words for word in said.words]
    assert words == [word for output in outputs for word in output.words]


@pytest.mark.parametrize("segment", [1, 2, 6])
def test_speech_that_runs_dry_fades_and_nothing_else_is_changed(segment: int) -> None:
    """A tone in pieces, which a player gets late: no step is larger than those of the tone."""
    time = np.arange(2560 * 24) / SAMPLE_RATE
    tone = 0.5 * np.cos(2 * np.pi * 100 * time).astype(np.float32)
    playback = Playback()
    for number, samples in enumerate(tone.reshape(-1, 2560 * segment)):
        delay_ms = 160.0 * segment * number + 30 * (number // 3)
        playback.add(Output((), delay_ms, False, (), "word", "word", samples, ()))
    played = playback.samples
    assert np.abs(np.diff(played)).max() < 0.03  # of the tone: 0.02
    spoken = played[played != 0]
    num_gaps = (24 // segment - 1) // 3
    assert len(tone) - 2 * FADE * (num_gaps + 1) <= len(spoken) <= len(tone)


@pytest.mark.parametrize("rate", [1.0, 0.97, 0.8, 0.5])
def test_a_slow_device_plays_all_of_it_and_is_late_by_no_more_than_is_stated(
    spoken: tuple[list[Output], float], rate: float
) -> None:
    """Of a device at `rate` times real time: the longest backlog, and `1 - rate` of the time."""
    outputs, longest_backlog = spoken
    ready = [(output.delay_ms * SAMPLE_RATE / 1000, output.samples) for output in outputs]
    played: list[NDArray[np.float32]] = []
    queue = np.zeros(0, np.float32)
    time, budget, latest = 0, 0.0, ready[-1][0]
    while ready or len(queue):
        while ready and ready[0][0] <= time:
            queue = np.concatenate([queue, ready.pop(0)[1]])
        if time <= latest:
            # One group, in which words may be spoken before the clock of the source goes on.
            assert len(queue) <= longest_backlog + (1 - rate) * time + 2560 + TICK
        budget = budget + rate * TICK if len(queue) else 0.0
        count = min(int(budget), len(queue))
        played.append(queue[:count])
        queue, budget, time = queue[count:], budget - count, time + TICK
    np.testing.assert_array_equal(np.concatenate(played), all_samples(outputs))
