"""Unit decoder and vocoder in ONNX Runtime, with the interface that they have in PyTorch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from echostream.backends.onnx.graph import OnnxStep, StepGraph
from echostream.models.skip_init import skip_init
from echostream.models.unit_decoder import (
    NextWords,
    UnitDecoder,
    UnitDecoderState,
    UnitOutput,
)
from echostream.models.vocoder import UnitVocoder, VocoderState
from echostream.models.waveform import Waveform
from echostream.speech_config import UnitDecoderConfig, VocoderConfig


class OnnxUnitDecoder(OnnxStep):
    """A unit decoder in ONNX Runtime. States are those of PyTorch, tensor for tensor.

    Raises:
        OnnxError: if the graph is missing, damaged, or not of this kind.
    """

    def __init__(
        self, path: Path, config: UnitDecoderConfig, num_threads: int | None = None
    ) -> None:
        self._graph = StepGraph(path, "unit decoder", num_threads)
        self.config = config
        with skip_init():
            module = UnitDecoder(config)
        self.init_state = module.init_state
        self.num_units, self.blank, self.units = module.num_units, module.blank, module.units
        inputs = {name: (1,) for name in NextWords._fields} | {"tokens": (1, None)}
        self._graph.check_inputs(inputs, self.init_state(1))

    def step(
        self, words: NextWords, state: UnitDecoderState
    ) -> tuple[UnitOutput, UnitDecoderState]:
        """As `UnitDecoder.step`.

        Raises:
            OnnxError: if the graph cannot be computed.
        """
        outputs, state = self._graph.run(words, state)
        return UnitOutput(*outputs), state


class OnnxVocoder(OnnxStep):
    """A unit vocoder in ONNX Runtime; otherwise as `OnnxUnitDecoder`."""

    def __init__(self, path: Path, config: VocoderConfig, num_threads: int | None = None) -> None:
        self._graph = StepGraph(path, "vocoder", num_threads)
        with skip_init():
            module = UnitVocoder(config)
        self.config, self.num_units, self.reduced = config, module.num_units, module.reduced
        self.sample_rate, self.samples_per_unit = module.sample_rate, module.samples_per_unit
        self.latency_units = module.latency_units
        self.init_state, self.finish = module.init_state, module.finish
        self._graph.check_inputs({"units": (1, None), "valid": (1, None)}, self.init_state(1))

    def step(
        self, units: Tensor, state: VocoderState, valid: Tensor | None = None
    ) -> tuple[Waveform, VocoderState]:
        """As `UnitVocoder.step`.

        Raises:
            OnnxError: if the graph cannot be computed.
        """
        if valid is None:
            valid = torch.ones_like(units, dtype=torch.bool)
        outputs, state = self._graph.run((units, valid), state)
        return Waveform(*outputs), state
