"""What may change when a run is resumed, what follows from it, and models of stopped runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from killed_run import Killed, kill_after
from safetensors.torch import load_file
from tiny_training import tiny_run

from echostream.config import ConfigError, load_config, to_dict
from echostream.model_folder import load_model
from echostream.training.config import DataConfig, TrainConfig
from echostream.training.folder import MAY_CHANGE
from echostream.training.kinds import run_training
from echostream.training.train import train
from echostream.training.vocoder.config import VocoderTrainConfig

Weights = dict[str, torch.Tensor]


def resumed(
    config: TrainConfig, after: int, patch: pytest.MonkeyPatch, **changes: Any
) -> TrainConfig:
    """The configuration of a run that is killed after some steps and resumed with changes."""
    revive = kill_after(after, patch)
    with pytest.raises(Killed):
        train(config)
    revive()
    changed = dataclasses.replace(config, **changes)
    train(changed)
    return changed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of seven steps that nothing has stopped."""
    config = tiny_run(tmp_path_factory.mktemp("whole"))
    train(config)
    return config


def checkpoint(config: TrainConfig, step: int) -> Weights:
    path = Path(config.output, "checkpoints", f"step-{step:07d}.pt")
    weights: Weights = torch.load(path, weights_only=True)["model"]
    return weights


def differing(a: Weights, b: Weights) -> list[str]:
    assert a.keys() == b.keys()
    return [name for name in a if not torch.equal(a[name], b[name])]


def steps_of(config: TrainConfig) -> list[int]:
    lines = Path(config.output, "log.jsonl").read_text().splitlines()
    return [r["step"] for r in map(json.loads, lines) if r["kind"] == "train"]


def test_checkpoints_at_other_steps_have_the_weights_of_the_same_run(
    whole: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_run(tmp_path)
    config = resumed(config, 4, monkeypatch, checkpoint_steps=2, keep_checkpoints=9)
    assert steps_of(config) == [3, 5, 7]
    assert differing(checkpoint(config, 7), checkpoint(whole, 7)) == []


def copy_of(config: TrainConfig, folder: Path, **changes: Any) -> TrainConfig:
    copytree(config.output, folder / "run")
    return dataclasses.replace(config, output=str(folder / "run"), **changes)


def test_a_finished_run_goes_on_when_it_gets_more_steps(
    whole: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = copy_of(whole, tmp_path, steps=9)
    model = train(config)
    assert steps_of(config) == [3, 6, 7, 9]
    assert differing(load_file(model / "model.safetensors"), checkpoint(whole, 7))
    assert "in 9 steps" in (model / "README.md").read_text()
    assert f"`steps` was 7 and is 9: {MAY_CHANGE['steps']}" in caplog.text
    assert load_config(TrainConfig, tmp_path / "run" / "train.yaml").steps == 9
    with pytest.raises(ConfigError, match=r"`optim.lr` is 0.005 there and 0.1 here"):
        train(dataclasses.replace(config, optim=dataclasses.replace(config.optim, lr=0.1)))


def test_with_fewer_steps_than_are_done_the_model_is_that_of_the_checkpoints(
    whole: TrainConfig, tmp_path: Path
) -> None:
    config = copy_of(whole, tmp_path, steps=5)
    model = train(config)
    assert steps_of(config) == [3, 6, 7]
    wanted = load_file(Path(whole.output) / "model" / "model.safetensors")
    assert differing(load_file(model / "model.safetensors"), wanted) == []
    assert "in 7 steps" in (model / "README.md").read_text()


def test_a_stopped_run_becomes_a_model_and_can_still_be_resumed(
    whole: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_run(tmp_path)
    revive = kill_after(5, monkeypatch)
    with pytest.raises(Killed):
        train(config)
    model = train(config, export_now=True)
    assert load_model(model).config.decoder_layers == 1
    assert differing(load_file(model / "model.safetensors"), checkpoint(config, 3)) == []
    assert "in 3 steps" in (model / "README.md").read_text()
    revive()
    train(config)
    assert differing(checkpoint(config, 7), checkpoint(whole, 7)) == []


def test_a_run_without_a_checkpoint_is_no_model_yet(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no checkpoint to make a model of"):
        train(tiny_run(tmp_path), export_now=True)
    assert not (tmp_path / "run").exists()


def test_a_vocoder_is_not_exported_before_its_last_step(tmp_path: Path) -> None:
    config = load_config(VocoderTrainConfig, Path("configs/train/vocoder-demo.yaml"))
    with pytest.raises(ConfigError, match="not a vocoder: lower `steps`"):
        run_training(config, export_now=True)


def test_what_may_change_are_keys() -> None:
    config: Any = to_dict(TrainConfig(output="", steps=1, data=DataConfig()))
    for key in MAY_CHANGE:
        section, _, name = key.rpartition(".")
        assert name in (config[section] if section else config)
