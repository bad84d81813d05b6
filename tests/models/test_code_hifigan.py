"""CodeHiFiGAN: the network is the one of its definition, and its stream is the whole recording."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slow_code_hifigan import (
    STREAMSPEECH,
    Floats,
    narrow_config,
    random_weights,
    shallow_config,
    slow_durations,
    slow_samples,
)
from torch import Tensor

from echostream.backends.protocol import Vocoder
from echostream.models.code_hifigan import CodeHiFiGAN, CodeHiFiGANState
from echostream.models.code_hifigan_file import load_code_hifigan
from echostream.models.waveform import Waveform
from echostream.streaming import named_leaves, state_nbytes

# StreamSpeech's layers, and few of them, for what needs many steps.
DEEP, SHALLOW = narrow_config(), shallow_config()
DEEP_WEIGHTS, WEIGHTS = random_weights(DEEP), random_weights(SHALLOW)
REACH = 5  # frames on either side on which the shallow one depends
UNITS = torch.randint(12, (3, 61), generator=torch.Generator().manual_seed(5))
RECORDING = UNITS[0].tolist()


def written(folder: Path, config: Any, weights: Any) -> Path:
    torch.save({"generator": weights}, folder / "g_00500000")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("shallow"), SHALLOW, WEIGHTS)


@pytest.fixture(scope="module")
def deep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("deep"), DEEP, DEEP_WEIGHTS)


def opened(folder: Path, lookahead_frames: int, dur_prediction: bool = True) -> CodeHiFiGAN:
    """The vocoder in float64."""
    paths = folder / "g_00500000", folder / "config.json"
    return load_code_hifigan(*paths, dur_prediction, lookahead_frames).double()


def rows(pieces: Sequence[Waveform]) -> list[Floats]:
    """All samples of each stream."""
    return [
        np.concatenate([piece.samples[row, : piece.num_samples[row]].numpy() for piece in pieces])
        for row in range(len(pieces[0].samples))
    ]


def streamed(vocoder: CodeHiFiGAN, units: Tensor, sizes: Sequence[int]) -> list[Floats]:
    """The samples of streams whose units come in chunks of the given sizes in turn."""
    state = vocoder.init_state(len(units))
    pieces, start, turn = [], 0, 0
    while start < units.shape[1]:
        stop = start + sizes[turn % len(sizes)]
        piece, state = vocoder.step(units[:, start:stop], state)
        pieces.append(piece)
        start, turn = stop, turn + 1
    return rows([*pieces, vocoder.finish(state)[0]])


def spelled_out(units: Sequence[int], durations: Sequence[int]) -> list[int]:
    return [
        unit for unit, count in zip(units, durations, strict=True) for _ in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("length", [1, 2, 3, 4, 30])
def test_the_network_is_the_one_of_its_definition(deep_folder: Path, length: int) -> None:
    units = RECORDING[:length]
    durations = slow_durations(DEEP_WEIGHTS, units)
    wanted = slow_samples(DEEP_WEIGHTS, DEEP, spelled_out(units, durations))
    assert wanted.std() > 0.05  # the layers hand signals on
    assert length < 4 or len(set(durations)) > 1
    (found,) = rows([opened(deep_folder, 0)(torch.tensor([units]))])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)

    wanted = slow_samples(DEEP_WEIGHTS, DEEP, units)
    (found,) = rows([opened(deep_folder, 0, dur_prediction=False)(torch.tensor([units]))])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)


def test_the_network_of_streamspeech_s_size_is_the_one_of_its_definition(tmp_path: Path) -> None:
    weights = random_weights(STREAMSPEECH)
    vocoder = opened(written(tmp_path, STREAMSPEECH, weights), 19)
    assert 13.2e6 < sum(weight.numel() for weight in vocoder.generator.parameters()) < 13.3e6
    assert (vocoder.sample_rate, vocoder.samples_per_unit) == (16000, 320)
    units = [7, 991]
    frames = spelled_out(units, slow_durations(weights, units))
    (found,) = rows([vocoder(torch.tensor([units]))])
    np.testing.assert_allclose(found, slow_samples(weights, STREAMSPEECH, frames), atol=1e-10)


@pytest.mark.parametrize("lookahead_frames", [19, 21])
def test_a_stream_with_look_ahead_19_is_the_whole_recording(
    deep_folder: Path, lookahead_frames: int
) -> None:
    vocoder = opened(deep_folder, lookahead_frames)
    assert vocoder.max_lookahead_frames == 21
    whole = rows([vocoder(UNITS)])
    for found, wanted in zip(streamed(vocoder, UNITS, [8, 17, 3, 25]), whole, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)


def test_a_look_ahead_of_17_is_not(deep_folder: Path) -> None:
    vocoder = opened(deep_folder, 17)
    difference = streamed(vocoder, UNITS[:1], [8])[0] - rows([vocoder(UNITS[:1])])[0]
    assert np.abs(difference).max() > 1e-9


@pytest.mark.parametrize("dur_prediction", [True, False])
@pytest.mark.parametrize("sizes", [[1], [2], [8], [1, 17, 3, 25, 2]], ids=str)
def test_cutting_does_not_matter_with_the_full_look_ahead(
    folder: Path, dur_prediction: bool, sizes: list[int]
) -> None:
    vocoder = opened(folder, REACH, dur_prediction)
    assert vocoder.max_lookahead_frames == REACH
    whole = rows([vocoder(UNITS)])
    for found, wanted in zip(streamed(vocoder, UNITS, sizes), whole, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)


WRITES = [[3, 1, 9], [4], [7, 7, 2, 0, 11, 5, 3, 8, 1, 6], [2, 10], [5] * 30, [1]]


def test_look_ahead_0_cuts_as_streamspeech_s_agent_does(deep_folder: Path) -> None:
    """It synthesises all units at each write and takes the samples of the new ones."""
    vocoder = opened(deep_folder, 0, dur_prediction=False)
    state = vocoder.init_state(1)
    for count, write in enumerate(WRITES, start=1):
        found, state = vocoder.step(torch.tensor([write]), state)
        history = [unit for each in WRITES[:count] for unit in each]
        wanted = slow_samples(DEEP_WEIGHTS, DEEP, history)[-320 * len(write) :]
        np.testing.assert_allclose(rows([found])[0], wanted, rtol=0, atol=1e-10)
    assert vocoder.finish(state)[0].samples.shape == (1, 0)


def test_and_its_durations_are_those_of_streamspeech_s_agent_then_and_stay(folder: Path) -> None:
    vocoder = opened(folder, 0)
    state = vocoder.init_state(1)
    history: list[int] = []
    frames: list[int] = []
    has_revised = False
    for write in WRITES:
        before = len(history)
        history += write
        durations = slow_durations(WEIGHTS, history)
        frames += spelled_out(write, durations[before:])
        has_revised |= spelled_out(history, durations) != frames
        found, state = vocoder.step(torch.tensor([write]), state)
        wanted = slow_samples(WEIGHTS, SHALLOW, frames)[-320 * sum(durations[before:]) :]
        np.testing.assert_allclose(rows([found])[0], wanted, rtol=0, atol=1e-10)
    assert has_revised  # StreamSpeech has other durations of units that it has written


@pytest.mark.parametrize("lookahead_frames", [1, 4])
def test_with_a_shorter_look_ahead_the_future_after_it_is_silence(
    folder: Path, lookahead_frames: int
) -> None:
    vocoder = opened(folder, lookahead_frames, dur_prediction=False)
    state = vocoder.init_state(1)
    written = 0
    for start in range(0, 61, 7):
        piece, state = vocoder.step(UNITS[:1, start : start + 7], state)
        known = RECORDING[: start + 7]
        stop = max(0, len(known) - lookahead_frames)
        wanted = slow_samples(WEIGHTS, SHALLOW, known)[320 * written : 320 * stop]
        np.testing.assert_allclose(rows([piece])[0], wanted, rtol=0, atol=1e-10)
        written = stop
    rest = slow_samples(WEIGHTS, SHALLOW, RECORDING)[320 * written :]
    np.testing.assert_allclose(rows([vocoder.finish(state)[0]])[0], rest, rtol=0, atol=1e-10)


@pytest.mark.parametrize("lookahead_frames", [0, 1, REACH])
@pytest.mark.parametrize("dur_prediction", [True, False])
def test_the_latency_is_the_one_declared(
    folder: Path, dur_prediction: bool, lookahead_frames: int
) -> None:
    vocoder = opened(folder, lookahead_frames, dur_prediction)
    assert vocoder.algorithmic_latency_ms == 20 * lookahead_frames
    waits = lookahead_frames + (2 if dur_prediction and lookahead_frames else 0)
    assert vocoder.latency_units == waits
    # Each unit that is one frame long comes out after as many units as declared, and not before.
    if dur_prediction:
        with torch.no_grad():
            vocoder.dur_predictor.proj.bias.fill_(-100.0)  # type: ignore[union-attr]
    piece, state = vocoder.step(UNITS[:1, :waits], vocoder.init_state(1))
    assert piece.num_samples.tolist() == [0]
    assert piece.samples.shape == (1, 0)
    piece, state = vocoder.step(UNITS[:1, waits : waits + 1], state)
    assert piece.num_samples.tolist() == [320]


def test_streams_of_a_batch_are_independent(folder: Path) -> None:
    """Rows with other numbers of units, what is not valid out of range, one stream ahead."""
    for lookahead_frames in (0, 2, REACH):
        vocoder = opened(folder, lookahead_frames)
        counts = [[0, 9, 4], [3, 0, 1], [8, 1, 0], [0, 0, 0], [25, 40, 2], [1, 5, 30]]
        state = vocoder.init_state(3)
        alone = [vocoder.init_state(1) for _ in range(3)]
        positions = [0, 0, 0]
        for count in counts:
            units = torch.full((3, max(count)), -999)
            for row, number in enumerate(count):
                start = positions[row]
                units[row, :number] = UNITS[row, start : start + number]
                positions[row] += number
            valid = torch.arange(max(count)) < torch.tensor(count)[:, None]
            together, state = vocoder.step(units, state, valid)
            for row, number in enumerate(count):
                piece, alone[row] = vocoder.step(units[row : row + 1, :number], alone[row])
                _assert_row(together, row, piece)
        last, _ = vocoder.finish(state)
        for row in range(3):
            _assert_row(last, row, vocoder.finish(alone[row])[0])


def _assert_row(together: Waveform, row: int, alone: Waveform) -> None:
    count = int(together.num_samples[row])
    assert count == int(alone.num_samples[0]) == alone.samples.shape[1]
    found = together.samples[row]
    np.testing.assert_allclose(found[:count], alone.samples[0], rtol=0, atol=1e-10)
    assert not found[count:].any()


def test_a_stream_goes_on_after_finish_from_what_was_written(folder: Path) -> None:
    """The second utterance has the first one as its past, as if its end had been silence."""
    vocoder = opened(folder, REACH, dur_prediction=False)
    first, second = RECORDING[:23], RECORDING[23:]
    piece, state = vocoder.step(torch.tensor([first]), vocoder.init_state(1))
    end, state = vocoder.finish(state)
    found = rows([piece, end])[0]
    np.testing.assert_allclose(found, slow_samples(WEIGHTS, SHALLOW, first), rtol=0, atol=1e-10)
    piece, state = vocoder.step(torch.tensor([second]), state)
    found = rows([piece, vocoder.finish(state)[0]])[0]
    wanted = slow_samples(WEIGHTS, SHALLOW, RECORDING)[320 * 23 :]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)


def test_the_state_is_a_value_of_constant_size(folder: Path) -> None:
    vocoder = opened(folder, REACH)
    fresh = vocoder.init_state(2)
    state = fresh
    for _ in range(12):
        before = [leaf.clone() for _, leaf in named_leaves(state)]
        first, new = vocoder.step(UNITS[:2, :10], state)
        again, _ = vocoder.step(UNITS[:2, :10], state)
        assert torch.equal(first.samples, again.samples)
        assert all(torch.equal(a, b) for a, (_, b) in zip(before, named_leaves(state), strict=True))
        assert _layout(new) == _layout(fresh)
        state = new
    assert state_nbytes(state) == state_nbytes(fresh) < 1000


def _layout(state: CodeHiFiGANState) -> list[Any]:
    return [(name, leaf.shape, leaf.dtype) for name, leaf in named_leaves(state)]


def test_float32_is_the_whole_recording_to_its_own_precision(folder: Path) -> None:
    vocoder = opened(folder, REACH).float()
    (whole,) = rows([vocoder(UNITS[:1])])
    np.testing.assert_allclose(streamed(vocoder, UNITS[:1], [8])[0], whole, rtol=0, atol=1e-5)


def test_it_is_a_vocoder_for_sessions(folder: Path) -> None:
    vocoder: Vocoder[CodeHiFiGANState] = opened(folder, REACH)
    assert vocoder.reduced
    assert not opened(folder, REACH, dur_prediction=False).reduced


@pytest.mark.parametrize(
    ("units", "valid", "message"),
    [
        (torch.tensor([[3, 12]]), None, "`units` must be from 0 to 11, but one is 12"),
        (torch.tensor([[-1]]), None, "`units` must be from 0 to 11, but one is -1"),
        (torch.tensor([[1], [2]]), None, r"`units` must be int64 of shape \(1, T\)"),
        (torch.tensor([[1.0]]), None, r"int64 of shape \(1, T\), but is torch.float32"),
        (torch.tensor([1]), None, r"int64 of shape \(1, T\)"),
        (torch.tensor([[1, 2]]), torch.tensor([[True]]), r"`valid` must be bool of shape \(1, 2\)"),
        (torch.tensor([[1, 2]]), torch.tensor([[1, 1]]), "`valid` must be bool of shape"),
        (torch.tensor([[1, 2]]), torch.tensor([[False, True]]), "`valid` must be True for the fir"),
    ],
)
def test_units_that_are_none_are_refused(
    folder: Path, units: Tensor, valid: Tensor | None, message: str
) -> None:
    vocoder = opened(folder, REACH)
    with pytest.raises(ValueError, match=message):
        vocoder.step(units, vocoder.init_state(1), valid)


def test_a_duration_is_bounded_whatever_the_weights(folder: Path) -> None:
    vocoder = opened(folder, 0)
    with torch.no_grad():
        vocoder.dur_predictor.proj.bias.fill_(1e4)  # type: ignore[union-attr]
    piece, _ = vocoder.step(torch.tensor([[1]]), vocoder.init_state(1))
    assert piece.num_samples.tolist() == [250 * 320]
