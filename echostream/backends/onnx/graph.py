"""One exported graph in ONNX Runtime: tensors and a state in, tensors and the next state out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as runtime
from torch import Tensor

from echostream.backends.onnx.seal import read_seal
from echostream.ranges import check_size, shown
from echostream.streaming import leaves, map_state, named_leaves

METADATA = "echostream"  # the key of the metadata of a graph
AGAIN = "`echostream export` writes it again"

State = TypeVar("State", bound=tuple[Any, ...])

# The exceptions of ONNX Runtime, which have no common base class of their own.
_FAILURES = (
    runtime.EPFail,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NoModel,
    runtime.NoSuchFile,
    runtime.NotImplemented,
    runtime.RuntimeException,
    RuntimeError,
    ValueError,
    TypeError,
    MemoryError,
)


class OnnxError(ValueError):
    """An ONNX file that cannot be used as it is; the message names it."""


class OnnxStep:
    """Base of what computes its step with a graph: on the CPU, in the process that loaded it."""

    device = torch.device("cpu")
    _graph: StepGraph

    @property
    def checksum(self) -> str:
        """SHA-256 of the graph and its weights, in hexadecimal."""
        return str(self._graph.about["graph_sha256"])

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a network in ONNX Runtime cannot be pickled or copied: call `load_model` again, in "
            "the process that needs it."
        )

    def to(self, device: str) -> OnnxStep:
        """Itself; it runs on the CPU only.

        Raises:
            ValueError: for any other device.
        """
        if torch.device(device).type != "cpu":
            raise ValueError(f"`device` must be cpu for ONNX Runtime, but is {device} instead.")
        return self


class StepGraph:
    """A graph of `echostream export`, on the CPU.

    Raises:
        OnnxError: if the file is missing, damaged, or not a graph of this kind.
        ValueError: if `num_threads` is not positive.
    """

    def __init__(self, path: Path, kind: str, num_threads: int | None = None) -> None:
        if num_threads is not None:
            check_size("num_threads", num_threads)
        self._path = path
        _check_seal(path, kind)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors come as exceptions
        # Both cache memory, and neither makes a step faster.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except _FAILURES as error:
            raise OnnxError(f"{path} cannot be loaded: {_reason(error)}; {AGAIN}.") from error
        self.about = self._read_about(kind)
        self._names = [value.name for value in self._session.get_inputs()]

    def check_inputs(
        self, inputs: Mapping[str, tuple[int | None, ...]], state: tuple[Any, ...]
    ) -> None:
        """Raises `OnnxError` unless the graph takes inputs of these shapes, and this state.

        Both are of one stream; None is any size, and so is a symbolic axis of the graph.
        """
        wanted = {**inputs}
        wanted |= {f"state.{name}": tuple(leaf.shape) for name, leaf in named_leaves(state)}
        found = {value.name: value.shape for value in self._session.get_inputs()}
        fits = list(found) == list(wanted) and all(
            len(found[name]) == len(shape)
            and all(
                not isinstance(size, int) or wanted_size is None or size == wanted_size
                for size, wanted_size in zip(found[name], shape, strict=True)
            )
            for name, shape in wanted.items()
        )
        if not fits or len(self._session.get_outputs()) < len(leaves(state)):
            raise OnnxError(
                f"{self._path} is of a network with another configuration: its inputs are not "
                f"those of this one and its state; {AGAIN}."
            )

    def run(self, inputs: tuple[Any, ...], state: State) -> tuple[list[Tensor], State]:
        """Computes one step; the outputs, and the next state.

        Raises `OnnxError` if the graph cannot be computed.
        """
        before = leaves(state)
        feed = {
            name: value.detach().contiguous().numpy()
            for name, value in zip(self._names, [*leaves(inputs), *before], strict=True)
        }
        try:
            values = self._session.run(None, feed)
        except _FAILURES as error:
            raise OnnxError(f"{self._path} cannot be computed: {_reason(error)}.") from error
        found = [torch.from_numpy(value) for value in values]
        num_outputs = len(found) - len(before)
        after = iter(found[num_outputs:])
        return found[:num_outputs], map_state(lambda _: next(after), state)

    def _read_about(self, kind: str) -> dict[str, Any]:
        about = self._session.get_modelmeta().custom_metadata_map.get(METADATA, "null")
        try:
            found: Any = json.loads(about)
        except (ValueError, RecursionError) as error:
            raise OnnxError(
                f"{self._path}: the metadata `{METADATA}` must be JSON, but are {shown(about)}."
            ) from error
        stored = found.get("kind") if isinstance(found, dict) else None
        if stored != kind or not isinstance(found.get("config"), dict):
            other = "some other graph" if stored is None or stored == kind else stored
            raise OnnxError(
                f"{self._path} must be the step of an EchoStream {kind}, "
                f"but is {shown(other)} instead."
            )
        return dict(found)


def _check_seal(path: Path, kind: str) -> None:
    """Raises `OnnxError` for a damaged file, before it is parsed."""
    if not path.is_file():
        raise OnnxError(f"{path} does not exist; `echostream export` writes it.")
    try:
        seal = read_seal(path)
    except OSError as error:
        raise OnnxError(f"{path} cannot be read: {error.strerror}.") from error
    if seal is None:
        raise OnnxError(
            f"{path} cannot be loaded: it must be the step of an EchoStream {kind}, but is some "
            f"other graph, or damaged, or of an older version; {AGAIN}."
        )
    if not seal.is_intact:
        raise OnnxError(f"{path} cannot be loaded: it is damaged: its seal is wrong; {AGAIN}.")


def _reason(error: BaseException) -> str:
    """The message of ONNX Runtime in one short line, without what it quotes of the file."""
    text = str(error)
    if "xternal data" in text or "external_data" in text:
        return "the weights that it refers to are missing, or too short"
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : ", "", text).partition("\n")[0]
    text = re.sub(r"/\S*/(?=\S)", "", text)  # where ONNX Runtime was built
    return "".join(letter for letter in text if letter.isprintable())[:160].rstrip(" .;:")
