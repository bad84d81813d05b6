"""A session gives the same words in every back end, however the audio is cut."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from tiny_model import SAMPLE_RATE, babble, pieces, prefer_short_words, random_pieces

from echostream.evaluation.point import method_options
from echostream.frontend.audio import read_audio
from echostream.model_folder import Model, load_model
from echostream.session.snapshot import fingerprint
from echostream.session.translator import StreamingTranslator

METHODS = ("ctc", "decoder")


@pytest.fixture(scope="module")
def models(exported: Path) -> dict[str, Model]:
    models = {name: load_model(exported, backend=name) for name in ("torch", "onnx", "onnx-int8")}
    for model in models.values():
        prefer_short_words(model)
    return models


def outputs_of(
    model: Model, cut: Iterable[NDArray[Any]], sample_rate: int = SAMPLE_RATE, **session: Any
) -> list[tuple[str, float]]:
    """Text and delay of each output."""
    translator = StreamingTranslator(model, **session)
    outputs = [output for piece in cut for output in translator.push(piece, sample_rate)]
    return [(output.text, output.delay_ms) for output in (*outputs, *translator.finish())]


def words(outputs: list[tuple[str, float]]) -> list[str]:
    return [word for text, _ in outputs for word in text.split()]


@pytest.mark.parametrize("method", [*METHODS, "wait-k:2", "alignatt:3"])
@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_a_session_in_onnx_runtime_gives_the_words_of_one_in_pytorch(
    models: dict[str, Model], recordings: list[Path], method: str, look_ahead: int
) -> None:
    session = {**method_options(method), "max_future_frames": look_ahead}
    total = 0
    for path in recordings:
        samples, rate = read_audio(path)
        wanted = outputs_of(models["torch"], pieces(samples, rate * 320 // 1000), rate, **session)
        found = outputs_of(models["onnx"], pieces(samples, rate * 320 // 1000), rate, **session)
        assert found == wanted
        total += len(words(wanted))
    assert total > 10


@pytest.mark.parametrize("method", METHODS)
def test_how_the_audio_is_cut_does_not_change_the_text(
    models: dict[str, Model], method: str
) -> None:
    model, samples = models["onnx"], babble(3, seed=2)
    whole = words(outputs_of(model, [samples], decoding_method=method))
    assert len(whole) > 4
    for cut in (pieces(samples, 160), pieces(samples, 5120), random_pieces(samples)):
        assert words(outputs_of(model, cut, decoding_method=method)) == whole


@pytest.mark.parametrize("method", METHODS)
def test_in_int8_too_how_a_group_is_cut_does_not_change_the_text(
    models: dict[str, Model], method: str
) -> None:
    """More than a group at once may round differently, which `test_onnx_int8.py` bounds."""
    model, samples = models["onnx-int8"], babble(3, seed=2)
    whole = words(outputs_of(model, pieces(samples, 2560), decoding_method=method))
    assert len(whole) > 4
    for size in (160, 1111):
        assert words(outputs_of(model, pieces(samples, size), decoding_method=method)) == whole


@pytest.mark.parametrize("backend", ["onnx", "onnx-int8"])
def test_one_sample_at_a_time_gives_the_same_text(models: dict[str, Model], backend: str) -> None:
    samples = babble(0.7, seed=3)
    whole = words(outputs_of(models[backend], pieces(samples, 2560)))
    assert words(outputs_of(models[backend], pieces(samples, 1))) == whole != []


def test_a_recording_pushed_at_once_may_be_long(models: dict[str, Model]) -> None:
    samples = babble(15, seed=6)  # more groups than one step takes
    whole = words(outputs_of(models["onnx"], [samples]))
    assert words(outputs_of(models["onnx"], pieces(samples, 5120))) == whole


def test_streams_go_on_with_the_same_graph_only(exported: Path) -> None:
    models = [load_model(exported, backend=backend) for backend in ("torch", "onnx", "onnx-int8")]
    found = [fingerprint(model) for model in models]
    assert len(set(found)) == 3
    assert fingerprint(load_model(exported, backend="onnx")) == found[1]
