"""The folder of a vocoder: what is saved is loaded, what does not fit is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from echostream.config import ConfigError
from echostream.model_folder import ModelFolderError
from echostream.models.vocoder import UnitVocoder
from echostream.speech_config import VocoderConfig
from echostream.speech_folder import load_vocoder, save_part

CONFIG = VocoderConfig(7, 8, 16, 1, 3, 6, 9, silence_unit=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_part(tmp_path / "v", UnitVocoder(CONFIG), "# A vocoder\n")
    return tmp_path / "v"


def test_what_was_saved_is_loaded_to_the_bit(folder: Path) -> None:
    torch.manual_seed(0)
    made, loaded = UnitVocoder(CONFIG), load_vocoder(folder)
    assert loaded.config == CONFIG
    assert not loaded.training
    units = torch.arange(7)[None]
    with torch.no_grad():
        assert torch.equal(made(units).samples, loaded(units).samples)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.yaml",
        "model.safetensors",
    ]


def with_nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["head.bias"][0] = float("nan")
    save_file(weights, folder / "model.safetensors")


def of_other_units(folder: Path) -> None:
    save_part(folder, UnitVocoder(VocoderConfig(8, 8, 16, 1, 3, 6, 9)))
    text = (folder / "config.yaml").read_text().replace("num_units: 8", "num_units: 7")
    (folder / "config.yaml").write_text(text)


def of_more_layers(folder: Path) -> None:
    text = (folder / "config.yaml").read_text().replace("num_layers: 1", "num_layers: 2")
    (folder / "config.yaml").write_text(text)


def cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def with_an_unknown_key(folder: Path) -> None:
    with (folder / "config.yaml").open("a") as file:
        file.write("colour: blue\n")


def with_a_silence_that_is_no_unit(folder: Path) -> None:
    text = (folder / "config.yaml").read_text().replace("silence_unit: 2", "silence_unit: 7")
    (folder / "config.yaml").write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (with_nan, "`head.bias` holds NaN"),
        (of_other_units, r"`(table|embedding).weight` must have shape \(7, "),
        (of_more_layers, "weights are missing"),
        (cut_off, "not a readable safetensors file"),
        (without_weights, "has no file model.safetensors"),
        (with_an_unknown_key, "`colour` is not a key"),
        (with_a_silence_that_is_no_unit, "`silence_unit` must be a whole number from 0 to 6"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(
    folder: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(folder)
    with pytest.raises((ModelFolderError, ConfigError), match=message) as caught:
        load_vocoder(folder)
    assert str(folder) in str(caught.value)
