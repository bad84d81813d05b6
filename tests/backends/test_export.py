"""A written graph: what it holds, that it was checked, and that it is there whole or not at all."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
import yaml
from onnx import ModelProto, TensorProto
from safetensors import safe_open

from echostream.backends.export import export_model
from echostream.backends.export.check import ExportError, check_network
from echostream.backends.onnx import METADATA, OnnxNetwork
from echostream.config import ModelConfig, load_config
from echostream.files import sha256_of
from echostream.model_folder import ModelFolderError, load_model
from echostream.models import EchoStreamModel
from echostream.streaming import named_leaves

ROOT = Path(__file__).resolve().parents[2]
GRAPHS = ("step.onnx", "step.int8.onnx")


@pytest.fixture
def network(exported: Path) -> EchoStreamModel:
    network = load_model(exported).network
    assert isinstance(network, EchoStreamModel)
    return network


@pytest.fixture
def graph(exported: Path) -> OnnxNetwork:
    config = load_config(ModelConfig, exported / "config.yaml")
    return OnnxNetwork(exported / "step.onnx", config, None)


@pytest.fixture
def unexported(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy without graphs, for which the tracer needs no time."""
    traced = onnx.load(exported / "step.onnx")  # with its weights
    folder = Path(shutil.copytree(exported, tmp_path / "model"))
    for name in GRAPHS:
        (folder / name).unlink()

    def trace_step(module: EchoStreamModel, *_: object) -> ModelProto:
        module.init_state(2, 2)  # as the tracer does
        proto = ModelProto()
        proto.CopyFrom(traced)
        return proto

    monkeypatch.setattr("echostream.backends.export.model.trace_step", trace_step)
    return folder


@pytest.mark.parametrize("name", GRAPHS)
def test_inputs_and_outputs_have_the_names_of_the_state(
    exported: Path, network: EchoStreamModel, name: str
) -> None:
    graph = onnx.load(exported / name, load_external_data=False).graph
    leaves = [leaf for leaf, _ in named_leaves(network.init_state(1, 0))]
    assert "encoder.memory.bank" in leaves
    inputs, outputs = [v.name for v in graph.input], [v.name for v in graph.output]
    assert inputs == ["x", "valid", *(f"state.{leaf}" for leaf in leaves)]
    heads = ["asr_logits", "st_logits", "valid_out", "st_frames"]
    assert outputs == heads + [f"next.{leaf}" for leaf in leaves]


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_holds_its_kind_and_the_digest_of_its_weights(exported: Path, name: str) -> None:
    proto = onnx.load(exported / name, load_external_data=False)
    about = json.loads({entry.key: entry.value for entry in proto.metadata_props}[METADATA])
    assert about["kind"] == "network"
    assert about["config"] == yaml.safe_load((exported / "config.yaml").read_text())
    assert about["weights_sha256"] == sha256_of(exported / "model.safetensors")
    assert {"echostream", "torch"} < about.keys()


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_tells_nothing_of_the_machine_it_was_written_on(exported: Path, name: str) -> None:
    content = (exported / name).read_bytes()
    for secret in (str(ROOT), str(exported.parent), 'File "', "stack_trace", "site-packages"):
        assert secret.encode() not in content


def test_weights_are_referred_to_and_not_copied(exported: Path) -> None:
    proto = onnx.load(exported / "step.onnx", load_external_data=False)
    outside = {
        tensor.name.removeprefix("module."): {e.key: e.value for e in tensor.external_data}
        for tensor in proto.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    }
    assert {entry["location"] for entry in outside.values()} == {"model.safetensors"}
    with safe_open(exported / "model.safetensors", framework="pt") as file:
        linear = {
            name
            for name in file.keys()  # noqa: SIM118
            if name.endswith("weight") and "linear" in name and not name.startswith("decoder.")
        }
        assert linear <= outside.keys() and len(linear) > 10
        data = (exported / "model.safetensors").read_bytes()
        for name, entry in outside.items():
            first = int(entry["offset"])
            last = first + int(entry["length"])
            assert data[first:last] == file.get_tensor(name).numpy().tobytes()
    held = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    assert held < 0.2 * len(data)  # constants, and what was folded of weights


def test_a_model_folder_may_be_moved(exported: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(exported, tmp_path / "elsewhere" / "model"))
    x, valid = torch.randn(1, 32, 80), torch.ones(1, 32, dtype=torch.bool)
    wanted, found = (load_model(path, backend="onnx").network for path in (exported, moved))
    state = wanted.init_state(1, 0)
    assert torch.equal(
        found.step(x, state, valid)[0].st_logits, wanted.step(x, state, valid)[0].st_logits
    )


@pytest.mark.parametrize(
    "name",
    [
        "asr_head.project.bias",
        "encoder.embed.conv.weight",
        "encoder.stacks.2.blocks.0.attention.position_bias",
        "encoder.memory_bank.summarise.weight",
    ],
)
def test_a_graph_that_computes_something_else_is_refused(
    network: EchoStreamModel, graph: OnnxNetwork, name: str
) -> None:
    check_network(graph, network)
    with torch.no_grad():
        parameter = network.get_parameter(name)
        parameter.add_(0.05 * torch.randn_like(parameter))
    with pytest.raises(ExportError, match=r"must be within 0.0001 of PyTorch, but is off by"):
        check_network(graph, network)


def test_an_export_is_repeatable_and_prints_the_path(exported: Path, unexported: Path) -> None:
    assert export_model(unexported) == [unexported / "step.onnx"]
    assert not (unexported / "step.int8.onnx").exists()
    assert export_model(unexported, int8=True) == [unexported / name for name in GRAPHS]
    assert (unexported / "step.onnx").read_bytes() == (exported / "step.onnx").read_bytes()


def test_a_model_of_one_look_ahead_can_be_exported(unexported: Path) -> None:
    config = yaml.safe_load((unexported / "config.yaml").read_text())
    (unexported / "config.yaml").write_text(yaml.safe_dump({**config, "max_future_frames": [1]}))
    export_model(unexported)
    network = load_model(unexported, backend="onnx").network
    network.init_state(1, 1)
    with pytest.raises(ValueError, match="must be one of"):
        network.init_state(1, 0)


@pytest.mark.parametrize("fails_at", GRAPHS)
def test_an_export_that_is_interrupted_leaves_no_half_file(
    unexported: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    before = {file.name for file in unexported.iterdir()}

    def check(*_: object, exact: bool = True) -> None:
        if exact == (fails_at == "step.onnx"):
            raise KeyboardInterrupt

    monkeypatch.setattr("echostream.backends.export.model.check_network", check)
    with pytest.raises(KeyboardInterrupt):
        export_model(unexported, int8=True)
    whole = set() if fails_at == "step.onnx" else {"step.onnx"}
    assert {file.name for file in unexported.iterdir()} == before | whole


def test_an_export_that_fails_keeps_the_graph_of_before(
    unexported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (unexported / "step.onnx").write_bytes(b"before")
    monkeypatch.setattr("echostream.backends.export.check.TOLERANCE", -1.0)
    with pytest.raises(ExportError):
        export_model(unexported)
    assert (unexported / "step.onnx").read_bytes() == b"before"
    assert not list(unexported.glob(".tmp*"))


@pytest.mark.parametrize(("limit", "name"), [(10_000, "step.onnx"), (200_000, "step.int8.onnx")])
def test_a_full_disk_is_reported_with_the_file_and_keeps_the_old_graph(
    unexported: Path, limit: int, name: str
) -> None:
    """A limit on the size of a file stands for the disk."""
    (unexported / name).write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match=f"File too large: '{unexported / name}'"):
            export_model(unexported, int8=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (unexported / name).read_bytes() == b"before"
    assert not list(unexported.glob(".tmp*"))


def test_a_folder_that_cannot_be_written_is_found_before_the_long_part(
    unexported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trace_step(*_: object) -> ModelProto:
        assert len(list(unexported.glob(".tmp-*-step.onnx"))) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr("echostream.backends.export.model.trace_step", trace_step)
    with pytest.raises(KeyboardInterrupt):
        export_model(unexported)


def test_each_stage_is_reported_at_its_start_during_it_and_at_its_end(
    unexported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr("echostream.backends.export.progress.TICK_SECONDS", 1e-4)
    export_model(unexported, int8=True, report=lines.append)
    assert [line for line in lines if line.endswith(" ...")] == [
        "[1/4] step.onnx: tracing the network ...",
        "[2/4] step.onnx: comparing it with PyTorch ...",
        "[3/4] step.int8.onnx: weights to 8 bits ...",
        "[4/4] step.int8.onnx: running it ...",
    ]
    ended = [line for line in lines if line.endswith(" s") and "..." not in line]
    assert [line[:5] for line in ended] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert any(line.startswith("[2/4]") and line.endswith("s so far") for line in lines)


@pytest.mark.parametrize("name", ["none", "config.yaml"])
def test_what_is_no_model_folder_is_refused_as_it_is_when_loaded(exported: Path, name: str) -> None:
    with pytest.raises(ModelFolderError, match=f"{exported / name} .*; a model is a folder with"):
        export_model(exported / name)


def test_what_is_no_model_folder_is_named_before_the_exporter_is_loaded(tmp_path: Path) -> None:
    """Loading the exporter takes seconds, on a busy machine ten; it came before the error."""
    script = "import sys; from echostream.cli import main; print(main(sys.argv[1:]))"
    script += "; print('onnx' in sys.modules)"
    command = [sys.executable, "-c", script, "export", str(tmp_path / "none"), "--onnx"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
    assert f"{tmp_path / 'none'} does not exist; a model is a folder" in done.stderr
