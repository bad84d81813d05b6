"""Resampling of a stream: cutting does not matter, nothing is lost, tones stay what they are."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echostream.frontend.resample import StreamingResampler, resample
from echostream.streaming import SAMPLE_RATE

RATES = [8000, 11_025, 22_050, 44_100, 48_000]


def noise(num_samples: int) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(0).standard_normal(num_samples)).astype(np.float32)


def tone(frequency: float, rate: int, seconds: float = 1.0) -> NDArray[np.float32]:
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def pushed(samples: NDArray[np.float32], rate: int, cuts: list[int]) -> NDArray[np.float32]:
    stream = StreamingResampler(rate)
    pieces = [stream.push(piece) for piece in np.split(samples, cuts)]
    return np.concatenate([*pieces, stream.finish()])


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("milliseconds", [10, 320])
def test_pieces_of_one_size_give_the_same_bits(rate: int, milliseconds: int) -> None:
    samples = noise(rate + 17)
    size = rate * milliseconds // 1000
    whole = resample(samples, rate)
    assert len(whole) > 15_000
    assert np.array_equal(pushed(samples, rate, list(range(size, len(samples), size))), whole)


@pytest.mark.parametrize("rate", RATES)
def test_single_samples_give_the_same_bits(rate: int) -> None:
    samples = noise(rate // 5)
    whole = resample(samples, rate)
    assert np.array_equal(pushed(samples, rate, list(range(1, len(samples)))), whole)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(RATES), st.lists(st.integers(0, 9999), max_size=12))
def test_any_cutting_gives_the_same_bits(rate: int, cuts: list[int]) -> None:
    samples = noise(9999)
    assert np.array_equal(pushed(samples, rate, sorted(cuts)), resample(samples, rate))


@pytest.mark.parametrize("rate", RATES)
def test_length_is_the_exact_ratio_rounded(rate: int) -> None:
    # Two integers are equally near at a half: 0.5 of slack, and a hair for the float.
    for centre in (0, 160, rate // 100, rate // 3, rate):
        for num_samples in range(max(0, centre - 5), centre + 6):
            length = len(resample(noise(num_samples), rate))
            assert abs(length - num_samples * 16_000 / rate) <= 0.5 + 1e-9


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frequency", [100.0, 440.0, 3000.0])
def test_a_tone_keeps_frequency_amplitude_and_phase(rate: int, frequency: float) -> None:
    result = resample(tone(frequency, rate), rate)
    inside = slice(1000, 15_000)  # the edges contain the silence around the recording
    expected = tone(frequency, 16_000)[inside]
    np.testing.assert_allclose(result[inside], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_what_16_khz_cannot_hold_is_removed_and_not_folded_down(rate: int) -> None:
    result = resample(tone(9500.0, rate), rate)
    assert np.abs(result[1000:15_000]).max() < 1e-4


@pytest.mark.parametrize("rate", RATES)
def test_little_is_held_back_until_the_end(rate: int) -> None:
    """The declared delay: 115 ms at 8 kHz, 37 ms at 48 kHz, 160 ms (a group) at most."""
    stream = StreamingResampler(rate)
    samples = noise(3 * rate)
    size = rate // 100
    received = given_out = 0
    for start in range(0, len(samples), size):
        received += len(samples[start : start + size])
        given_out += len(stream.push(samples[start : start + size]))
        late_ms = 1000 * received / rate - given_out / 16
        assert 0 <= late_ms < 160
    assert len(stream.finish()) == round(received * 16_000 / rate) - given_out


def test_equal_rates_pass_samples_through_at_once() -> None:
    stream = StreamingResampler(16_000)
    samples = noise(777)
    assert np.array_equal(stream.push(samples), samples)
    assert stream.push(samples[:0]).shape == (0,)
    assert stream.finish().shape == (0,)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_output_is_float32_and_the_input_unchanged(rate: int) -> None:
    samples = noise(4800).astype(np.float64)
    copy = samples.copy()
    result = resample(samples, rate)
    assert result.dtype == np.float32
    result[:] = 1.0
    assert np.array_equal(samples, copy)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_output_never_shares_memory_with_float32_input(rate: int) -> None:
    samples = noise(4800)
    assert not np.shares_memory(StreamingResampler(rate).push(samples), samples)


def test_nothing_gives_nothing() -> None:
    assert resample(np.empty(0, np.float32), 48_000).shape == (0,)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_finished_stream_takes_no_more(rate: int) -> None:
    stream = StreamingResampler(rate)
    stream.push(noise(100))
    stream.finish()
    with pytest.raises(RuntimeError, match="finished"):
        stream.push(noise(100))
    with pytest.raises(RuntimeError, match="finished"):
        stream.finish()


@pytest.mark.parametrize("rate", [0, -16_000])
def test_rates_that_are_not_positive_are_refused(rate: int) -> None:
    with pytest.raises(ValueError, match=f"`source_rate` must be a positive.*is {rate} instead"):
        StreamingResampler(rate)
    with pytest.raises(ValueError, match=f"`target_rate` must be a positive.*is {rate} instead"):
        StreamingResampler(16_000, rate)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((10, 2), np.float32), "`samples` must have shape"),
        (np.zeros(10, np.int16), "`samples` must be floating point"),
        (np.array([np.nan]), "`samples` must be finite"),
    ],
)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_refused_samples_leave_the_stream_as_it_was(
    rate: int, samples: NDArray[np.floating], message: str
) -> None:
    stream = StreamingResampler(rate)
    first = stream.push(noise(5000))
    with pytest.raises(ValueError, match=message):
        stream.push(samples)
    result = np.concatenate([first, stream.push(noise(3000)), stream.finish()])
    assert np.array_equal(result, resample(np.concatenate([noise(5000), noise(3000)]), rate))


@pytest.mark.parametrize("rate", [*RATES, 16_000])
def test_a_stream_goes_on_from_its_state_to_the_bit(rate: int) -> None:
    generator = np.random.default_rng(rate)
    samples = generator.standard_normal(int(7.3 * rate)).astype(np.float32)
    whole = StreamingResampler(rate)
    pieces, copied, start = [], [], 0
    copy = StreamingResampler(rate)
    while start < len(samples):
        stop = start + int(generator.choice([1, rate // 50, rate // 7, 2 * rate]))
        pieces.append(whole.push(samples[start:stop]))
        copy = StreamingResampler.from_state(copy.get_state())
        copied.append(copy.push(samples[start:stop]))
        assert len(copied[-1]) == len(pieces[-1])  # not a sample later
        start = stop
    pieces.append(whole.finish())
    copied.append(StreamingResampler.from_state(copy.get_state()).finish())
    np.testing.assert_array_equal(np.concatenate(copied), np.concatenate(pieces))


@pytest.mark.parametrize("rate", RATES)
def test_blocks_are_those_of_one_filter(rate: int) -> None:
    samples = np.random.default_rng(rate).uniform(-1, 1, 7 * rate).astype(np.float32)
    one = soxr.resample(samples, rate, SAMPLE_RATE, "HQ")
    np.testing.assert_allclose(resample(samples, rate), one, atol=3e-6)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seconds", [0, 1, 1.9999, 2, 2.0001, 2.1, 3, 4, 4.05, 6, 600])
def test_lengths_round_every_block(rate: int, seconds: float) -> None:
    samples = np.zeros(int(seconds * rate), np.float32)
    assert len(resample(samples, rate)) == round(len(samples) * SAMPLE_RATE / rate)


def test_a_state_has_a_constant_size() -> None:
    stream, sizes = StreamingResampler(48_000), []
    for _ in range(300):
        stream.push(np.zeros(4800, np.float32))
        sizes.append(len(stream.get_state()["recent"]))
    assert max(sizes[100:]) == max(sizes[:100]) <= 3.1 * 48_000


def test_rates_that_are_not_whole_have_no_state() -> None:
    with pytest.raises(ValueError, match="not whole numbers"):
        StreamingResampler(16_000 * 1.0701).get_state()
