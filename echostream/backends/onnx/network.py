"""The network and the encoder in ONNX Runtime, with the interface that they have in PyTorch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from echostream.backends.onnx.graph import OnnxStep, StepGraph
from echostream.config import EncoderConfig, ModelConfig, from_dict
from echostream.models import CtcOutput
from echostream.models.build import build_encoder, build_model
from echostream.models.echostream import ModelState
from echostream.models.skip_init import skip_init
from echostream.models.text_decoder import TextDecoder
from echostream.models.zipformer import EncoderState, check_chunk

STEP, INT8 = "step.onnx", "step.int8.onnx"  # in a model folder


class OnnxNetwork(OnnxStep):
    """Encoder and CTC heads in ONNX Runtime; a `Network` like `EchoStreamModel`.

    The text decoder, which runs a few times a second, stays in PyTorch. States are those of
    PyTorch, tensor for tensor, so a stream can change from one back end to the other.

    Raises:
        OnnxError: if the graph is missing, damaged, or not of this kind.
    """

    def __init__(
        self,
        path: Path,
        config: ModelConfig,
        decoder: TextDecoder | None,
        num_threads: int | None = None,
    ) -> None:
        self._graph = StepGraph(path, "network", num_threads)
        self.max_future_frames = config.max_future_frames
        self.decoder = decoder
        with skip_init():
            self._module = build_model(config)
        self._graph.check_inputs(_frames(config.encoder.input_dim), self.init_state(1))

    def init_state(self, batch_size: int, max_future_frames: int | None = None) -> ModelState:
        """The state of `batch_size` new streams with look-ahead L.

        Raises:
            ValueError: if the network was not trained for L.
        """
        return self._module.init_state(batch_size, max_future_frames)

    def step(
        self, x: Tensor, state: ModelState, valid: Tensor | None = None
    ) -> tuple[CtcOutput, ModelState]:
        """As `EchoStreamModel.step`.

        Raises:
            OnnxError: if the graph cannot be computed.
        """
        outputs, state = self._graph.run((x, _all_valid(x) if valid is None else valid), state)
        return CtcOutput(*outputs), state


class OnnxEncoder:
    """An encoder in ONNX Runtime, written by `export_encoder`.

    Raises:
        OnnxError: if the graph is missing, damaged, or not of this kind.
        ConfigError: if the configuration in it is not allowed.
    """

    def __init__(self, path: str | Path, num_threads: int | None = None) -> None:
        self._graph = StepGraph(Path(path), "encoder", num_threads)
        config = from_dict(EncoderConfig, self._graph.about["config"], f"{path}: `config`")
        with skip_init():
            self._module = build_encoder(config)
        self._graph.check_inputs(_frames(config.input_dim), self.init_state(1))

    def init_state(self, batch_size: int, max_future_frames: int | None = None) -> EncoderState:
        """The state of `batch_size` new streams with look-ahead L, 0 to 2."""
        return self._module.init_state(batch_size, max_future_frames)

    def step(
        self, x: Tensor, state: EncoderState, valid: Tensor | None = None
    ) -> tuple[Tensor, EncoderState]:
        """As `ZipformerEncoder.step`.

        Raises:
            ValueError: as the encoder in PyTorch.
            OnnxError: if the graph cannot be computed.
        """
        check_chunk(x, state, self._module.embed.conv.weight)
        outputs, state = self._graph.run((x, _all_valid(x) if valid is None else valid), state)
        return outputs[0], state


def _frames(input_dim: int) -> dict[str, tuple[int | None, ...]]:
    """The inputs of a chunk of one stream."""
    return {"x": (1, None, input_dim), "valid": (1, None)}


def _all_valid(x: Tensor) -> Tensor:
    return torch.ones(x.shape[:2], dtype=torch.bool)
