"""One exported graph in ONNX Runtime: tensors and a state in, tensors and the next state out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import onnxruntime
import torch
from torch import Tensor

from echostream.streaming import leaves, map_state

METADATA = "echostream"  # the key under which a graph says what it is

State = TypeVar("State", bound=tuple[Any, ...])


class OnnxError(ValueError):
    """An ONNX file that cannot be used as it is; the message names it."""


class StepGraph:
    """A graph of `echostream export`, on the CPU.

    Raises:
        OnnxError: if the file is missing, damaged, or not a graph of this kind.
    """

    def __init__(self, path: Path, kind: str, num_threads: int | None = None) -> None:
        if not path.is_file():
            raise OnnxError(f"{path} does not exist; `echostream export` writes it.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        # Both keep memory for later, and neither makes a step faster.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no base of their own
            raise OnnxError(f"{path} cannot be loaded: {error}") from error
        about = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        self.about: dict[str, Any] = json.loads(about) if about else {}
        if self.about.get("kind") != kind:
            raise OnnxError(
                f"{path} must be the step of an EchoStream {kind}, "
                f"but is {self.about.get('kind', 'some other graph')!r} instead."
            )
        self._names = [value.name for value in self._session.get_inputs()]

    def run(self, x: Tensor, valid: Tensor, state: State) -> tuple[list[Tensor], State]:
        """What the graph makes of one chunk: its outputs, and the next state."""
        inputs = [x, valid, *leaves(state)]
        feed = {
            name: value.detach().contiguous().numpy()
            for name, value in zip(self._names, inputs, strict=True)
        }
        found = [torch.from_numpy(value) for value in self._session.run(None, feed)]
        num_outputs = len(found) - (len(inputs) - 2)
        after = iter(found[num_outputs:])
        return found[:num_outputs], map_state(lambda _: next(after), state)
