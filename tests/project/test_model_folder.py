"""A model folder: what is saved is what is loaded, and what does not fit is refused by name."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny_model import TARGET_TEXT, make_model_folder

from echostream.config import ConfigError
from echostream.device import resolve_device
from echostream.model_folder import Model, ModelFolderError, load_model, save_model
from echostream.session.translator import StreamingTranslator
from echostream.text.tokenizer import Tokenizer

FILES = {
    "config.yaml",
    "model.safetensors",
    "spm_src.model",
    "spm_tgt.model",
    "gcmvn.npz",
    "README.md",
    "main.yaml",
    "asr.yaml",
}
NEEDED = sorted(FILES - {"README.md", "main.yaml", "asr.yaml"})


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(original, tmp_path / "model"))


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))


def edit_weights(folder: Path, **weights: torch.Tensor | None) -> None:
    """Sets weights by name (`__` for the dots); None takes one away."""
    found = load_file(folder / "model.safetensors")
    for name, value in weights.items():
        key = name.replace("__", ".")
        if value is None:
            del found[key]
        else:
            found[key] = value
    save_file(found, folder / "model.safetensors")


def save_from(folder: Path, model: Model, path: Path, readme: str) -> None:
    """Saves `model`, of `folder`, into `path`."""
    spm = (folder / "spm_src.model", folder / "spm_tgt.model")
    save_model(path, model.network, model.config, model.cmvn, *spm, readme)


def test_a_folder_holds_these_files_and_nothing_temporary(original: Path) -> None:
    assert {file.name for file in original.iterdir()} == FILES


def test_what_is_saved_is_what_is_loaded(original: Path, tmp_path: Path) -> None:
    model = load_model(original)
    save_from(original, model, tmp_path / "deep" / "copy", "# Copy\n")
    again = load_model(tmp_path / "deep" / "copy")
    assert again.config == model.config
    np.testing.assert_array_equal(again.cmvn.mean, model.cmvn.mean)
    np.testing.assert_array_equal(again.cmvn.std, model.cmvn.std)
    assert again.target_tokenizer.encode(TARGET_TEXT[0]) == model.target_tokenizer.encode(
        TARGET_TEXT[0]
    )
    weights, copied = model.network.state_dict(), again.network.state_dict()
    assert weights.keys() == copied.keys()
    assert all(torch.equal(weights[key], copied[key]) for key in weights)
    assert not again.network.training


def test_saving_again_renews_the_files_and_leaves_others_alone(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    model = load_model(folder)
    with torch.no_grad():
        model.network.asr_head.project.bias.fill_(0.25)
    save_from(folder, model, folder, "new")
    assert (load_model(folder).network.asr_head.project.bias == 0.25).all()
    assert {file.name for file in folder.iterdir()} == FILES | {"notes.txt"}


def test_saving_again_leaves_the_flags_that_a_user_gave_simuleval(folder: Path) -> None:
    mine = (folder / "main.yaml").read_text() + "max_future_frames: 1\n"
    (folder / "main.yaml").write_text(mine)
    (folder / "asr.yaml").unlink()
    model = load_model(folder)
    save_from(folder, model, folder, "new")
    assert (folder / "main.yaml").read_text() == mine
    assert {file.name for file in folder.iterdir()} == FILES


def test_a_save_that_fails_leaves_the_old_model_and_no_rest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def half_a_file(weights: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("echostream.weights_file.save_file", half_a_file)
    with pytest.raises(OSError, match="no space left"):
        save_from(folder, model, folder, before["README.md"].decode())
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert after.keys() == before.keys()
    assert after["model.safetensors"] == before["model.safetensors"]


def test_loading_does_not_touch_the_random_numbers_of_the_caller(original: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_model(original)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelFolderError, match=f"{folder} lacks {name}"):
        load_model(folder)


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95 wrong content", b"half"])
def test_a_damaged_file_is_named(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    if content == b"half":  # half a mapping may still be a mapping, an open list is not YAML
        data = path.read_bytes()
        content = b"encoder: [" if name == "config.yaml" else data[: len(data) // 2]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        load_model(folder)


def test_a_file_that_git_lfs_has_not_fetched_is_named(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelFolderError, match=f"{folder / 'model.safetensors'} is a Git LFS poi"):
        load_model(folder)


def test_a_folder_that_is_not_there_or_is_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=f"{tmp_path / 'none'} does not exist"):
        load_model(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ModelFolderError, match=r"notes\.txt is a file; a model is a folder"):
        load_model(tmp_path / "notes.txt")


def test_a_folder_given_as_the_working_directory_is_named_in_full(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    load_model(".")
    (folder / "gcmvn.npz").unlink()
    with pytest.raises(ModelFolderError, match=f"{folder} lacks gcmvn.npz"):
        load_model(".")


class _Trap:
    """A pickle that leaves a trace when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
def test_a_pickle_is_refused_and_never_opened(folder: Path, tmp_path: Path, suffix: str) -> None:
    trace = tmp_path / "trace"
    pickle = folder / f"model{suffix}"
    torch.save(_Trap(trace), pickle)
    with pytest.raises(ModelFolderError, match=f"{pickle} is a pickle"):
        load_model(pickle)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=rf"lacks model.safetensors.*{pickle.name}.*pickle"):
        load_model(folder)
    pickle.rename(folder / "model.safetensors")  # under a false name
    with pytest.raises(ModelFolderError, match="not a readable safetensors file"):
        load_model(folder)
    assert not trace.exists()


def test_a_wrong_shape_is_named_with_both_shapes(folder: Path) -> None:
    edit_weights(folder, asr_head__project__bias=torch.zeros(7))
    message = r"model.safetensors: `asr_head.project.bias` must have shape \(24,\).* \(7,\)"
    with pytest.raises(ModelFolderError, match=message):
        load_model(folder)


def test_a_wrong_type_is_named(folder: Path) -> None:
    edit_weights(folder, asr_head__project__bias=torch.zeros(24, dtype=torch.float16))
    with pytest.raises(ModelFolderError, match=r"asr_head.project.bias.* torch.float16 instead"):
        load_model(folder)


def test_missing_and_foreign_weights_are_named(folder: Path) -> None:
    edit_weights(folder, asr_head__project__bias=None, foreign=torch.zeros(1))
    message = r"1 weights are missing \['asr_head.project.bias'\], 1 are unknown \['foreign'\]"
    with pytest.raises(ModelFolderError, match=message):
        load_model(folder)


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    edit_weights(folder, asr_head__project__bias=torch.full((24,), torch.nan))
    with pytest.raises(ModelFolderError, match=r"`asr_head\.project\.bias` holds NaN or infinity"):
        load_model(folder)


def test_an_unknown_key_is_named_with_its_file(folder: Path) -> None:
    edit_config(folder, look_ahead=1)
    with pytest.raises(ConfigError, match=rf"{folder / 'config.yaml'}.*`look_ahead`"):
        load_model(folder)


def test_a_vocabulary_of_another_size_is_refused(folder: Path) -> None:
    Tokenizer.train(TARGET_TEXT, 22, folder / "spm_tgt.model")
    message = r"spm_tgt.model has size 22, but `target_vocab_size` of .*config.yaml is 24"
    with pytest.raises(ModelFolderError, match=message):
        load_model(folder)


def test_statistics_of_another_width_are_refused(folder: Path) -> None:
    np.savez(folder / "gcmvn.npz", mean=np.zeros(40, np.float32), std=np.ones(40, np.float32))
    with pytest.raises(ValueError, match=r"gcmvn.npz.*40"):
        load_model(folder)


def test_a_look_ahead_that_was_not_trained_is_refused(folder: Path) -> None:
    edit_config(folder, max_future_frames=[1])
    model = load_model(folder)
    assert StreamingTranslator(model).max_future_frames == 1  # the smallest that there is
    with pytest.raises(ValueError, match=r"`max_future_frames` must be one of 1, .* 0 instead"):
        StreamingTranslator(model, max_future_frames=0)


@pytest.mark.parametrize(
    "name", ["cpu", pytest.param("gpu", id="gpu, as in StreamSpeech"), "cuda", "cuda:0"]
)
def test_a_device_that_is_not_there_is_the_cpu_with_one_warning(
    original: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        model = load_model(original, name)
    absent = name != "cpu" and not torch.cuda.is_available()
    assert len(caplog.records) == (1 if absent else 0)
    found = next(model.network.parameters()).device.type
    assert found == ("cpu" if absent or name == "cpu" else "cuda")


@pytest.mark.parametrize("name", ["tpu", "mps", "", "cuda:x"])
def test_a_device_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="`device` must be cpu, cuda, cuda:N or gpu"):
        resolve_device(name)


def test_a_name_on_a_hub_is_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFolderError, match=r"does not exist; a model is a folder .*on a hub"):
        load_model("some-organisation/some-model.v1")
    with pytest.raises(ModelFolderError, match=r"does not exist; a model is a folder") as error:
        load_model(tmp_path / "some-model")
    assert "on a hub" not in str(error.value)


@pytest.mark.parametrize("name", NEEDED)
def test_what_stands_in_the_place_of_a_file_is_named(folder: Path, name: str) -> None:
    path = folder / name
    path.unlink()
    path.mkdir()
    with pytest.raises(ModelFolderError, match=f"{path} must be a file, but is a folder"):
        load_model(folder)
    path.rmdir()
    path.symlink_to(path)
    with pytest.raises(ModelFolderError, match=f"{path} must be a file, but is a link that leads"):
        load_model(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ModelFolderError, match=f"{path} must be a file, but is a device or a pipe"):
        load_model(folder)


def test_a_link_that_leads_to_itself_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(tmp_path / "model")
    with pytest.raises(ModelFolderError, match="model is a link that leads nowhere; a model is"):
        load_model(tmp_path / "model")


def test_a_name_too_long_for_a_path_is_refused() -> None:
    with pytest.raises(ModelFolderError, match="File name too long"):
        load_model("x" * 5000)


def test_a_vocabulary_of_gigabytes_is_not_read(folder: Path) -> None:
    with (folder / "spm_src.model").open("ab") as file:
        file.truncate(2**33)
    with pytest.raises(ModelFolderError, match=r"spm_src.model must have at most \d+ bytes"):
        load_model(folder)


def test_a_vocabulary_with_a_piece_that_is_no_text_is_named(folder: Path) -> None:
    path = folder / "spm_src.model"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\n\x03\xe2\x96\x81", b"\n\x03\xff\x96\x81"))
    assert path.read_bytes() != content
    with pytest.raises(ModelFolderError, match=f"{path}"):
        load_model(folder)


def test_a_network_too_large_for_any_machine_is_refused(folder: Path) -> None:
    sizes = {"embed_dim": 8192, "ffn_dim": 65536, "num_layers_per_stack": 64}
    config = yaml.safe_load((folder / "config.yaml").read_text())
    edit_config(folder, encoder={**config["encoder"], **sizes})
    with pytest.raises(ModelFolderError, match=r"too large for this machine|is not of the network"):
        load_model(folder)


def test_a_folder_without_its_description_loads(folder: Path) -> None:
    for name in ("README.md", "main.yaml", "asr.yaml"):
        (folder / name).unlink()
    load_model(folder)


SAVE = """
import resource, signal, sys
from pathlib import Path
from echostream.model_folder import load_model, save_model

folder = Path(sys.argv[1])
model = load_model(folder)
spm = folder / "spm_src.model", folder / "spm_tgt.model"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        save_model(folder, model.network, model.config, model.cmvn, *spm, "new" * 300)
    except OSError as error:
        sys.stderr.write(f"{error}\\n")
"""


def test_a_full_disk_is_reported_with_the_file_and_leaves_the_old_one(folder: Path) -> None:
    """A limit on the size of a file stands for the disk."""
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    names = {"100": "config.yaml", "600": "gcmvn.npz", "5000": "model.safetensors"}
    command = [sys.executable, "-c", SAVE, str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == len(names)
    for name, line in zip(names.values(), lines, strict=True):
        assert str(folder / name) in line and "File too large" in line and ".tmp" not in line
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"README.md"}
    assert after.keys() == before.keys()
