"""Unit decoder and vocoder in ONNX Runtime speak as they do in PyTorch."""

from __future__ import annotations

import copy
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import ModelProto
from onnx_case import assert_same
from safetensors.torch import load_file, save_file
from spoken import cut, run, run_batch, units, wave
from tiny_model import babble, prefer_short_words
from tiny_speech import NUM_UNITS, add_speech
from torch import Tensor

from echostream.backends.export import ExportError, export_model
from echostream.backends.export.progress import Stages, silent
from echostream.backends.export.speech import export_part, speaking_parts
from echostream.backends.onnx import OnnxError, OnnxUnitDecoder, OnnxVocoder
from echostream.model_folder import Model, ModelFolderError, load_model
from echostream.models.unit_decoder import NextWords, UnitDecoder
from echostream.models.vocoder import UnitVocoder
from echostream.models.word_encoder import END_OF_TEXT, NO_TOKEN
from echostream.session.translator import Output
from echostream.speech_config import CTC
from echostream.speech_folder import SpeechModel, load_speech

METHODS = ("ctc", "decoder")
PARTS = ("unit_decoder", "vocoder")


@pytest.fixture(scope="module")
def models(exported_speech: Path) -> dict[str, Model]:
    backends = ("torch", "onnx", "onnx-int8")
    models = {name: load_model(exported_speech, backend=name) for name in backends}
    for model in models.values():
        prefer_short_words(model)
    return models


@pytest.fixture
def copied(exported_speech: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(exported_speech, tmp_path / "model"))


def speech_of(model: Model) -> SpeechModel:
    assert model.speech is not None
    return model.speech


def words_of(rows: int, size: int, number: int) -> NextWords:
    """The next word of each row: sometimes the last one of a text, sometimes none."""
    generator = torch.Generator().manual_seed(number)
    tokens = torch.randint(1, 24, (rows, size), generator=generator)
    tokens[0, 1:] = NO_TOKEN
    following = torch.randint(1, 24, (rows,), generator=generator)
    following[number % 7 == 3] = END_OF_TEXT
    active = torch.rand(rows, generator=generator) < 0.8
    return NextWords(tokens, following, active, 1 + torch.rand(rows, generator=generator) / 4)


def assert_same_words(graph: Any, module: Any, rows: int, sizes: tuple[int, ...]) -> None:
    """Both give the same frames and states, word by word."""
    ours = theirs = module.init_state(rows)
    lengths = set()
    for number in range(25):
        words = words_of(rows, sizes[number % len(sizes)], number)
        with torch.inference_mode():
            wanted, ours = module.step(words, ours)
            found, theirs = graph.step(words, theirs)
        assert_same((found, theirs), (wanted, ours), f"word {number}")
        assert torch.equal(found.logits.argmax(-1), wanted.logits.argmax(-1))
        lengths.add(found.logits.shape[1])
    assert len(lengths) > 1


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("sizes", [(1,), (1, 4, 2)])
def test_words_have_the_frames_that_they_have_in_pytorch(
    models: dict[str, Model], rows: int, sizes: tuple[int, ...]
) -> None:
    graph, module = (speech_of(models[name]).unit_decoder for name in ("onnx", "torch"))
    assert isinstance(graph, OnnxUnitDecoder) and isinstance(module, UnitDecoder)
    assert (graph.num_units, graph.blank, graph.units) == (NUM_UNITS, None, module.units)
    assert_same_words(graph, module, rows, sizes)


@pytest.mark.parametrize("rows", [1, 3])
def test_units_have_the_samples_that_they_have_in_pytorch(
    models: dict[str, Model], rows: int
) -> None:
    graph, module = (speech_of(models[name]).vocoder for name in ("onnx", "torch"))
    assert isinstance(graph, OnnxVocoder) and isinstance(module, UnitVocoder)
    state = module.init_state(rows)
    generator, loudest = torch.Generator().manual_seed(0), 0.0
    for size in (1, 2, 7, 25, 1, 12):
        drawn = torch.randint(NUM_UNITS, (rows, size), generator=generator)
        valid = torch.arange(size) < torch.randint(size + 1, (rows, 1), generator=generator)
        with torch.inference_mode():
            found, after = graph.step(drawn, state, valid)
            wanted, state = module.step(drawn, state, valid)
        assert_same(after.convolutions, state.convolutions, f"{size} units")
        assert torch.equal(found.num_samples, wanted.num_samples)
        assert not found.samples[~valid.repeat_interleave(320, dim=1)].any()
        loudest = max(loudest, float(wanted.samples.abs().max()))
        assert (found.samples - wanted.samples).abs().max() < 1e-4 * max(1, loudest)
    assert loudest > 0.01
    assert_same(graph.finish(state)[0], module.finish(state)[0], "finish")


def test_all_units_are_valid_if_nothing_else_is_said(models: dict[str, Model]) -> None:
    vocoder = speech_of(models["onnx"]).vocoder
    drawn, state = torch.arange(5)[None], vocoder.init_state(1)
    with torch.inference_mode():
        wanted, _ = vocoder.step(drawn, state, torch.ones_like(drawn, dtype=torch.bool))
        found, _ = vocoder.step(drawn, state)
    assert torch.equal(found.samples, wanted.samples)


def assert_close_waves(found: Sequence[Output], wanted: Sequence[Output]) -> None:
    """Within 1e-3 of the loudest sample: roundings of the pitch add up in the phase."""
    loudest = np.abs(wave(wanted)).max(initial=1)
    np.testing.assert_allclose(wave(found), wave(wanted), rtol=0, atol=1e-3 * loudest)


@pytest.mark.parametrize("method", METHODS)
def test_a_session_speaks_as_in_pytorch(models: dict[str, Model], method: str) -> None:
    samples = babble(6, seed=3)
    wanted, found = (
        run(models[name], cut(samples, [5120]), decoding_method=method)
        for name in ("torch", "onnx")
    )
    assert len(wave(wanted)) > 4000
    assert units(found) == units(wanted)
    assert [output.delay_ms for output in found] == [output.delay_ms for output in wanted]
    assert_close_waves(found, wanted)


def test_in_int8_the_parts_that_speak_are_those_of_float32(models: dict[str, Model]) -> None:
    speech = speech_of(models["onnx-int8"])
    assert isinstance(speech.unit_decoder, OnnxUnitDecoder)
    assert isinstance(speech.vocoder, OnnxVocoder)
    assert len(wave(run(models["onnx-int8"], [babble(4, seed=3)]))) > 4000


def test_how_the_audio_is_cut_changes_no_bit(models: dict[str, Model]) -> None:
    samples = babble(4, seed=2)
    whole = wave(run(models["onnx"], [samples]))
    for sizes in ([160], [1, 2559, 2561, 9000, 17]):
        np.testing.assert_array_equal(wave(run(models["onnx"], cut(samples, sizes))), whole)


def test_streams_of_a_batch_speak_as_if_alone(models: dict[str, Model]) -> None:
    recordings = [babble(seconds, seed) for seed, seconds in enumerate((2.0, 4.3, 0.1))]
    found = run_batch(models["onnx"], recordings)
    for outputs, samples in zip(found, recordings, strict=True):
        alone = run(models["onnx"], [samples])
        assert units(outputs) == units(alone)
        assert_close_waves(outputs, alone)


@pytest.mark.slow
def test_a_unit_decoder_of_an_alignment_has_a_graph_too(tmp_path: Path) -> None:
    folder = add_speech(tmp_path, kind=CTC, unit_upsample=7)
    part, _ = speaking_parts(load_speech(folder, 24))
    export_part(folder, part, Stages(2, silent))
    graph = OnnxUnitDecoder(folder / "unit_decoder" / "step.onnx", part.module.config)
    assert graph.blank == NUM_UNITS
    assert_same_words(graph, part.module, 3, (1, 3))


@pytest.mark.parametrize("missing", [PARTS, PARTS[:1], PARTS[1:]])
def test_a_model_that_was_exported_before_it_spoke_is_loaded_with_a_warning(
    copied: Path, caplog: pytest.LogCaptureFixture, missing: tuple[str, ...]
) -> None:
    for name in missing:
        (copied / name / "step.onnx").unlink()
    with caplog.at_level(logging.WARNING):
        model = load_model(copied, backend="onnx")
    found = [record.getMessage() for record in caplog.records]
    assert len(found) == len(missing)
    for name, message in zip(missing, found, strict=True):
        assert message.startswith(f"{copied / name} lacks step.onnx, which `echostream export`")
        assert isinstance(getattr(speech_of(model), name), torch.nn.Module)
    samples = babble(4, seed=3)
    assert units(run(model, [samples])) == units(run(load_model(copied), [samples]))


def test_a_model_without_speech_is_loaded_without_a_warning(
    exported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert load_model(exported, backend="onnx").speech is None
    assert not caplog.records


@pytest.mark.parametrize("part", PARTS)
def test_a_graph_of_other_weights_is_refused(copied: Path, part: str) -> None:
    path = copied / part / "model.safetensors"
    weights = load_file(path)
    next(iter(weights.values())).flatten()[0] += 1e-3
    save_file(weights, path)
    message = re.escape(f"{copied / part / 'step.onnx'} is of other weights")
    with pytest.raises(ModelFolderError, match=message):
        load_model(copied, backend="onnx")


@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_graph_is_refused_by_name(copied: Path, part: str) -> None:
    step = copied / part / "step.onnx"
    step.write_bytes(step.read_bytes()[:5000])
    with pytest.raises(OnnxError, match=re.escape(f"{step} cannot be loaded")):
        load_model(copied, backend="onnx")


def test_the_graph_of_the_other_part_is_refused(copied: Path) -> None:
    steps = [copied / part / "step.onnx" for part in PARTS]
    config = speech_of(load_model(copied)).vocoder.config  # type: ignore[attr-defined]
    with pytest.raises(OnnxError, match="step of an EchoStream vocoder, but is 'unit decoder'"):
        OnnxVocoder(steps[0], config)


@pytest.mark.parametrize(
    ("part", "key", "value"), [("unit_decoder", "left_words", 3), ("vocoder", "kernel_size", 5)]
)
def test_a_graph_of_another_configuration_is_refused(
    copied: Path, part: str, key: str, value: int
) -> None:
    speech = speech_of(load_model(copied))
    config = getattr(speech, part).config
    values = yaml.safe_load((copied / part / "config.yaml").read_text()) | {key: value}
    load = OnnxUnitDecoder if part == "unit_decoder" else OnnxVocoder
    step = copied / part / "step.onnx"
    with pytest.raises(OnnxError, match=f"{step} is of a network with another configuration"):
        load(step, type(config)(**values))


@pytest.mark.parametrize("part", PARTS)
def test_the_graphs_run_on_the_cpu_only_and_are_not_copied(
    models: dict[str, Model], part: str
) -> None:
    graph = getattr(speech_of(models["onnx"]), part)
    assert graph.to("cpu") is graph
    with pytest.raises(ValueError, match="`device` must be cpu for ONNX Runtime, but is cuda"):
        graph.to("cuda")
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        copy.copy(graph)


def test_an_export_writes_and_reports_the_graphs_of_all_parts(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = ["step.onnx", *(f"{part}/step.onnx" for part in PARTS)]
    before = {name: (copied / name).read_bytes() for name in graphs}

    def traced(name: str) -> Any:
        proto = onnx.load(copied / name)  # with its weights

        def trace(*_: object) -> ModelProto:
            other = ModelProto()
            other.CopyFrom(proto)
            return other

        return trace

    export = "echostream.backends.export"
    monkeypatch.setattr(f"{export}.model.trace_step", traced(graphs[0]))
    monkeypatch.setattr(f"{export}.speech.trace_unit_decoder", traced(graphs[1]))
    monkeypatch.setattr(f"{export}.speech.trace_vocoder", traced(graphs[2]))
    for name in graphs:
        (copied / name).unlink()
    lines: list[str] = []
    assert export_model(copied, report=lines.append) == [copied / name for name in graphs]
    assert {name: (copied / name).read_bytes() for name in graphs} == before
    assert [line for line in lines if line.endswith(" ...")] == [
        "[1/6] step.onnx: tracing the network ...",
        "[2/6] step.onnx: comparing it with PyTorch ...",
        "[3/6] unit_decoder/step.onnx: tracing the unit decoder ...",
        "[4/6] unit_decoder/step.onnx: comparing it with PyTorch ...",
        "[5/6] vocoder/step.onnx: tracing the vocoder ...",
        "[6/6] vocoder/step.onnx: comparing it with PyTorch ...",
    ]


@pytest.mark.parametrize("name", ["unit_decoder", "vocoder"])
def test_a_graph_that_computes_something_else_is_noticed(copied: Path, name: str) -> None:
    step = copied / name / "step.onnx"
    part = speaking_parts(load_speech(copied, 24))[PARTS.index(name)]
    graph = part.load(step, part.module.config)
    part.check(graph, part.module)
    weights: list[Tensor] = list(part.module.parameters())
    with torch.no_grad():
        weights[-2 if name == "unit_decoder" else 0].add_(0.05)
    with pytest.raises(ExportError, match=r"must be within 0.0001 of PyTorch, but is off by"):
        part.check(graph, part.module)
