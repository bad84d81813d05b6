"""Missing or damaged files of a back end are named, with advice."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import yaml
from onnx import ModelProto, StringStringEntryProto, numpy_helper
from safetensors.torch import load_file, save_file

from echostream.backends.onnx import METADATA, OnnxEncoder, OnnxError, OnnxNetwork
from echostream.backends.onnx.seal import sealed
from echostream.config import ConfigError, ModelConfig, load_config
from echostream.files import sha256_of
from echostream.model_folder import ModelFolderError, load_model
from echostream.models import EchoStreamModel
from echostream.session.translator import StreamingTranslator


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


def reseal(step: Path, change: Callable[[ModelProto], object]) -> None:
    """Changes a graph as an attacker would, with a matching seal."""
    proto = onnx.load(step, load_external_data=False)
    change(proto)
    step.write_bytes(sealed(proto.SerializeToString()))


def about(proto: ModelProto) -> StringStringEntryProto:
    return next(entry for entry in proto.metadata_props if entry.key == METADATA)


def rewrite(old: str, new: str) -> Callable[[ModelProto], None]:
    """Replaces a text in the metadata."""

    def change(proto: ModelProto) -> None:
        assert old in about(proto).value
        about(proto).value = about(proto).value.replace(old, new)

    return change


@pytest.mark.parametrize("backend", ["onnx", "onnx-int8"])
def test_a_flipped_byte_anywhere_in_a_graph_is_found_before_it_is_loaded(
    copied: Path, backend: str
) -> None:
    step = copied / {"onnx": "step.onnx", "onnx-int8": "step.int8.onnx"}[backend]
    content = step.read_bytes()
    for place in range(7, len(content), len(content) // 40):
        step.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(OnnxError, match=f"{step} cannot be loaded: it .* damaged"):
            load_model(copied, backend=backend)


def test_a_graph_of_another_kind_is_refused(copied: Path) -> None:
    step = copied / "step.onnx"
    with pytest.raises(OnnxError, match="must be the step of an EchoStream encoder, but is 'netw"):
        OnnxEncoder(step)
    with pytest.raises(OnnxError, match="does not exist; `echostream export` writes it"):
        OnnxEncoder(copied / "encoder.onnx")
    reseal(step, rewrite('"network"', '"encoder"'))
    with pytest.raises(OnnxError, match="must be the step of an EchoStream network, but is 'enc"):
        load_model(copied, backend="onnx")
    proto = onnx.load(step, load_external_data=False)
    del proto.metadata_props[:]
    onnx.save(proto, step)
    with pytest.raises(OnnxError, match="is some other graph, or damaged, or of an older version"):
        load_model(copied, backend="onnx")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"kind"', "kind", "the metadata `echostream` must be JSON, but are '{kind: "),
        ('"config": {', '"config": ' + "[" * 5000 + "{", "the metadata `echostream` must be JSON"),
        ('"kind"', '"sort"', "but is 'some other graph' instead"),
        ('"config"', '"setting"', "but is 'some other graph' instead"),
    ],
)
def test_metadata_that_are_something_else_are_named_with_the_file(
    copied: Path, old: str, new: str, message: str
) -> None:
    step = copied / "step.onnx"
    reseal(step, rewrite(old, new))
    with pytest.raises(OnnxError, match=re.escape(message)) as error:
        load_model(copied, backend="onnx")
    assert str(step) in str(error.value)


def test_an_encoder_with_an_impossible_configuration_is_named(copied: Path) -> None:
    step = copied / "step.onnx"
    reseal(step, rewrite('"network"', '"encoder"'))
    with pytest.raises(ConfigError, match=rf"{step}: `config`: `.*` is not a key"):
        OnnxEncoder(step)


@pytest.mark.parametrize(
    ("key", "value"), [("left_context", 24), ("memory_size", 3), ("embed_dim", 32)]
)
def test_a_graph_of_another_configuration_is_refused(copied: Path, key: str, value: int) -> None:
    path = copied / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["decoder_layers"] = 0
    config["encoder"][key] = value
    path.write_text(yaml.safe_dump(config))
    graph = copied / "step.onnx"
    with pytest.raises(OnnxError, match=f"{graph} is of a network with another configuration"):
        OnnxNetwork(graph, load_config(ModelConfig, path), None)


def test_a_graph_that_breaks_in_use_is_named(copied: Path) -> None:
    def change(proto: ModelProto) -> None:
        """Reshapes to other sizes than there are."""
        names = {node.input[1] for node in proto.graph.node if node.op_type == "Reshape"}
        for tensor in proto.graph.initializer:
            if tensor.name in names:
                sizes = numpy_helper.to_array(tensor) * 0 + 7
                tensor.CopyFrom(numpy_helper.from_array(sizes, tensor.name))

    reseal(copied / "step.onnx", change)
    with pytest.raises(OnnxError, match=r"step.onnx cannot be (loaded|computed): ") as error:
        network = load_model(copied, backend="onnx").network
        frames = torch.zeros(1, 16, 80)
        network.step(frames, network.init_state(1, 0))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_weights_cut_short_are_named_by_every_back_end(copied: Path, size: int) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    for backend in ("torch", "onnx", "onnx-int8"):
        with pytest.raises(ModelFolderError, match=f"{weights} is not a readable safetensors file"):
            load_model(copied, backend=backend)


def test_a_text_decoder_that_is_not_finite_is_refused_beside_a_graph_too(copied: Path) -> None:
    path = copied / "model.safetensors"
    weights = load_file(path)
    weights["decoder.norm.bias"][0] = torch.nan
    save_file(weights, path)
    reseal(copied / "step.onnx", rewrite_digest(path))
    with pytest.raises(ModelFolderError, match=r"`decoder.norm.bias` holds NaN or infinity"):
        load_model(copied, backend="onnx")
    del weights["decoder.norm.bias"]
    save_file(weights, path)
    with pytest.raises(ModelFolderError, match=r"1 weights are missing \['decoder.norm.bias'\]"):
        load_model(copied, backend="onnx")


def rewrite_digest(weights: Path) -> Callable[[ModelProto], None]:
    def change(proto: ModelProto) -> None:
        values = json.loads(about(proto).value) | {"weights_sha256": sha256_of(weights)}
        about(proto).value = json.dumps(values)

    return change


@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_a_number_of_threads_that_is_none_is_refused(exported: Path, value: Any) -> None:
    config = load_config(ModelConfig, exported / "config.yaml")
    with pytest.raises(ValueError, match="`num_threads` must be a whole number, at least 1"):
        OnnxNetwork(exported / "step.onnx", config, None, value)


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
        StreamingTranslator(model, max_future_frames=3)


def test_without_onnx_runtime_the_message_names_the_package_to_install(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("echostream.backends.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("echostream.backends.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelFolderError, match=r"needs onnxruntime: `pip install \"\.\[onnx\]\"`"):
        load_model(exported, backend="onnx")
    assert isinstance(load_model(exported).network, EchoStreamModel)
