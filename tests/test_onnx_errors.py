"""What a back end lacks is said by name, with what to do about it."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from echostream.model_folder import ModelFolderError, load_model
from echostream.models import EchoStreamModel
from echostream.onnx import METADATA, OnnxEncoder, OnnxError
from echostream.translator import StreamingTranslator


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(exported, tmp_path / "model"))


@pytest.mark.parametrize(
    ("backend", "file", "flags"),
    [("onnx", "step.onnx", "--onnx"), ("onnx-int8", "step.int8.onnx", "--onnx --int8")],
)
def test_a_graph_that_is_missing_comes_with_the_command_that_writes_it(
    copied: Path, backend: str, file: str, flags: str
) -> None:
    (copied / file).unlink()
    command = f"lacks {file}, which `echostream export {copied} {flags}` writes"
    with pytest.raises(ModelFolderError, match=re.escape(command)):
        load_model(copied, backend=backend)


@pytest.mark.parametrize("backend", ["onnx", "onnx-int8"])
def test_a_graph_of_other_weights_is_refused(copied: Path, backend: str) -> None:
    weights = load_file(copied / "model.safetensors")
    weights["encoder.embed.conv.bias"][0] += 1e-3
    save_file(weights, copied / "model.safetensors")
    with pytest.raises(ModelFolderError, match=r"of other weights .* export the model again"):
        load_model(copied, backend=backend)


@pytest.mark.parametrize("content", [b"", b"not a graph", None])
def test_a_damaged_graph_is_refused_by_name(copied: Path, content: bytes | None) -> None:
    step = copied / "step.onnx"
    step.write_bytes(step.read_bytes()[:5000] if content is None else content)
    with pytest.raises(OnnxError, match=re.escape(f"{step} cannot be loaded")):
        load_model(copied, backend="onnx")


def test_a_graph_of_another_kind_is_refused(copied: Path) -> None:
    step = copied / "step.onnx"
    with pytest.raises(OnnxError, match="must be the step of an EchoStream encoder, but is 'netw"):
        OnnxEncoder(step)
    with pytest.raises(OnnxError, match="does not exist; `echostream export` writes it"):
        OnnxEncoder(copied / "encoder.onnx")
    proto = onnx.load(step, load_external_data=False)
    about = next(entry for entry in proto.metadata_props if entry.key == METADATA)
    about.value = about.value.replace('"network"', '"encoder"')
    onnx.save(proto, step)
    with pytest.raises(OnnxError, match="must be the step of an EchoStream network, but is 'enc"):
        load_model(copied, backend="onnx")
    del proto.metadata_props[:]
    onnx.save(proto, step)
    with pytest.raises(OnnxError, match="but is 'some other graph' instead"):
        load_model(copied, backend="onnx")


def test_onnx_runtime_runs_on_the_cpu_only(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = load_model(exported, backend="onnx").network
    assert network.to("cpu") is network
    with pytest.raises(ValueError, match="`device` must be cpu for ONNX Runtime, but is cuda"):
        network.to("cuda")
    monkeypatch.setattr("echostream.model_folder.resolve_device", torch.device)
    with pytest.raises(ValueError, match="`device` must be cpu for the back end onnx, but is cuda"):
        load_model(exported, "cuda", backend="onnx")


def test_a_back_end_that_does_not_exist_is_refused(exported: Path) -> None:
    names = "`backend` must be one of torch, onnx, onnx-int8, but is 'tvm' instead"
    with pytest.raises(ValueError, match=names):
        load_model(exported, backend="tvm")


def test_a_look_ahead_that_was_not_trained_is_refused(exported: Path) -> None:
    model = load_model(exported, backend="onnx")
    with pytest.raises(ValueError, match="max_future_frames"):
        StreamingTranslator(model, 3)


def test_without_onnx_runtime_the_message_says_what_to_install(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("echostream.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("echostream.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelFolderError, match="needs ONNX Runtime: pip install onnxruntime"):
        load_model(exported, backend="onnx")
    assert isinstance(load_model(exported).network, EchoStreamModel)
