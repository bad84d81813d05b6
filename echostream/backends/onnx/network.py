"""The network and the encoder in ONNX Runtime, behind the calls that they have in PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from echostream.backends.onnx.graph import StepGraph
from echostream.config import EncoderConfig, ModelConfig, from_dict
from echostream.models import CtcOutput
from echostream.models.build import build_encoder, build_model
from echostream.models.echostream import ModelState
from echostream.models.skip_init import without_weights
from echostream.models.text_decoder import TextDecoder
from echostream.models.zipformer import EncoderState, check_chunk

STEP, INT8 = "step.onnx", "step.int8.onnx"  # in a model folder


class OnnxNetwork:
    """Encoder and CTC heads in ONNX Runtime, as `EchoStreamModel` for a session.

    The text decoder, which is asked a few times a second, stays in PyTorch. States are those of
    PyTorch, tensor for tensor, so a stream may go from one back end to the other.

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
        self.device = torch.device("cpu")
        with without_weights():
            self._blank = build_model(config)
        self._graph.check_state(config.encoder.input_dim, self.init_state(1))

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a network in ONNX Runtime cannot be pickled or copied: call `load_model` again, in "
            "the process that needs it."
        )

    def to(self, device: str) -> OnnxNetwork:
        """Itself; it runs on the CPU only.

        Raises:
            ValueError: for any other device.
        """
        if torch.device(device).type != "cpu":
            raise ValueError(f"`device` must be cpu for ONNX Runtime, but is {device} instead.")
        return self

    def init_state(self, batch_size: int, max_future_frames: int | None = None) -> ModelState:
        """The state of `batch_size` new streams with look-ahead L.

        Raises:
            ValueError: if the network was not trained for L.
        """
        return self._blank.init_state(batch_size, max_future_frames)

    def advance(self, x: Tensor, valid: Tensor, state: ModelState) -> tuple[CtcOutput, ModelState]:
        """One chunk of whole groups `(B, 16 g, F)` with its valid mask `(B, 16 g)`."""
        found, state = self._graph.run(x, valid, state)
        return CtcOutput(*found), state


class OnnxEncoder:
    """An encoder in ONNX Runtime, written by `export_encoder`.

    Raises:
        OnnxError: if the graph is missing, damaged, or not of this kind.
        ConfigError: if the configuration in it is not allowed.
    """

    def __init__(self, path: str | Path, num_threads: int | None = None) -> None:
        self._graph = StepGraph(Path(path), "encoder", num_threads)
        config = from_dict(EncoderConfig, self._graph.about["config"], f"{path}: `config`")
        with without_weights():
            self._blank = build_encoder(config)
        self._graph.check_state(config.input_dim, self.init_state(1))

    def init_state(self, batch_size: int, max_future_frames: int | None = None) -> EncoderState:
        """The state of `batch_size` new streams with look-ahead L, 0 to 2."""
        return self._blank.init_state(batch_size, max_future_frames)

    def step(self, x: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Encodes one chunk of whole groups, `(B, 16 g, F)` to `(B, 4 g, D)`.

        Raises:
            ValueError: as the encoder in PyTorch.
        """
        check_chunk(x, state, self._blank.embed.conv.weight)
        y, _, state = self.advance(x, torch.ones(x.shape[:2], dtype=torch.bool), state)
        return y, state

    def advance(
        self, x: Tensor, valid: Tensor, state: EncoderState
    ) -> tuple[Tensor, Tensor, EncoderState]:
        """`step` with a valid mask in, and the mask of the frames out."""
        (y, valid), state = self._graph.run(x, valid, state)
        return y, valid, state
