"""The steps of the parts that speak as ONNX graphs: unit decoder and vocoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from onnx import ModelProto
from torch import Tensor
from torch.export import Dim

from echostream.backends.export.check import check_unit_decoder, check_vocoder
from echostream.backends.export.graph_file import write_graph
from echostream.backends.export.progress import Stages
from echostream.backends.export.trace import BATCH, BATCH_SIZE, Input, trace
from echostream.backends.onnx import STEP, OnnxUnitDecoder, OnnxVocoder
from echostream.files import replacing
from echostream.models.unit_decoder import NextWords, UnitDecoder, UnitOutput
from echostream.models.vocoder import UnitVocoder
from echostream.models.waveform import Waveform
from echostream.speech_folder import UNIT_DECODER, VOCODER, SpeechModel
from echostream.weights_file import WEIGHTS

_MAX_SIZE = 4096  # of tokens and units; a bound for the tracer
_EXAMPLE = 3


class Part(NamedTuple):
    """A part of a model whose step is a graph of its own."""

    name: str  # of its folder
    kind: str
    module: UnitDecoder | UnitVocoder
    trace: Callable[[Any], ModelProto]
    load: Callable[[Path, Any], Any]
    check: Callable[[Any, Any], None]


def speaking_parts(speech: SpeechModel | None) -> list[Part]:
    """The parts of a model in PyTorch that speak, as far as they have graphs."""
    if speech is None:
        return []
    decoding = trace_unit_decoder, OnnxUnitDecoder, check_unit_decoder
    sounding = trace_vocoder, OnnxVocoder, check_vocoder
    parts = []
    if isinstance(speech.unit_decoder, UnitDecoder):
        parts.append(Part(UNIT_DECODER, "unit decoder", speech.unit_decoder, *decoding))
    if isinstance(speech.vocoder, UnitVocoder):
        parts.append(Part(VOCODER, "vocoder", speech.vocoder, *sounding))
    return parts


def export_part(folder: Path, part: Part, stages: Stages) -> None:
    """Writes `step.onnx` into the folder of a part of the model in `folder`; two stages.

    Raises as `export_model`.
    """
    graph, shown = folder / part.name / STEP, f"{part.name}/{STEP}"
    with replacing(graph) as temporary:
        temporary.touch()  # before the long part: a folder may be read-only
        with stages.stage(f"{shown}: tracing the {part.kind}"):
            proto = part.trace(part.module)
        config = part.module.config
        write_graph(temporary, proto, part.kind, config, graph.with_name(WEIGHTS))
        with stages.stage(f"{shown}: comparing it with PyTorch"):
            part.check(part.load(temporary, config), part.module)


def trace_unit_decoder(module: UnitDecoder) -> ModelProto:
    """The graph of the next word of each row, for any number of rows and tokens.

    The number of frames is that of the longest word, which the graph computes.
    """

    def step(inputs: tuple[Tensor, ...], state: Any) -> tuple[Any, Any]:
        return module.step(NextWords(*inputs), state)

    rows = {0: BATCH_SIZE}
    ones = torch.ones(BATCH, dtype=torch.int64)
    words = NextWords(ones[:, None].repeat(1, _EXAMPLE), ones, ones.bool(), ones.float())
    inputs = {name: Input(example, rows) for name, example in words._asdict().items()}
    sizes = {**rows, 1: Dim("tokens", min=1, max=_MAX_SIZE)}
    inputs["tokens"] = Input(words.tokens, sizes)
    return trace(module, step, inputs, module.init_state(BATCH), UnitOutput._fields)


def trace_vocoder(module: UnitVocoder) -> ModelProto:
    """The graph of the samples of the next units, for any number of rows and units."""

    def step(inputs: tuple[Tensor, ...], state: Any) -> tuple[Any, Any]:
        units, valid = inputs
        return module.step(units, state, valid)

    sizes = {0: BATCH_SIZE, 1: Dim("units", min=1, max=_MAX_SIZE)}
    units = torch.zeros(BATCH, _EXAMPLE, dtype=torch.int64)
    inputs = {
        "units": Input(units, sizes),
        "valid": Input(torch.ones_like(units, dtype=torch.bool), sizes),
    }
    return trace(module, step, inputs, module.init_state(BATCH), Waveform._fields)
