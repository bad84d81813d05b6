"""A run starts from the parts of trained models that it names, and says what it has taken."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import tiny_run, write_table

from echostream.config import ConfigError
from echostream.model_folder import CMVN, SOURCE_SPM, TARGET_SPM, ModelFolderError
from echostream.training.config import OptimConfig, TrainConfig
from echostream.training.train import train

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def donor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained on other recordings, so that its statistics are others, too."""
    folder = tmp_path_factory.mktemp("donor")
    config = tiny_run(folder, seed=7)
    write_table(folder / "train.tsv", range(20, 27))
    return train(dataclasses.replace(config, steps=2))


def frozen_run(folder: Path, *init_from: str, **network: Any) -> TrainConfig:
    """A run of one step that changes no weight."""
    config = tiny_run(folder)
    return dataclasses.replace(
        config,
        steps=1,
        optim=OptimConfig(lr=0.0),
        init_from=init_from,
        network=dataclasses.replace(config.network, **network),
    )


def weights_of(model: Path) -> Weights:
    return load_file(model / "model.safetensors")


def equal_parts(a: Weights, b: Weights) -> dict[str, bool]:
    """By part, whether all of its weights are equal."""
    parts = {name.partition(".")[0] for name in a}
    return {
        part: all(torch.equal(a[n], b[n]) for n in a if n.partition(".")[0] == part)
        for part in parts
    }


def same_file(name: str, a: Path, b: Path) -> bool:
    return (a / name).read_bytes() == (b / name).read_bytes()


def test_a_whole_model_is_taken_with_its_tokenizers_and_statistics(
    donor: Path, tmp_path: Path
) -> None:
    model = train(frozen_run(tmp_path, str(donor)))
    assert set(equal_parts(weights_of(model), weights_of(donor)).values()) == {True}
    assert all(same_file(name, model, donor) for name in (SOURCE_SPM, TARGET_SPM, CMVN))


def test_a_part_comes_with_what_it_was_trained_for_and_the_rest_starts_at_random(
    donor: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scratch = weights_of(train(frozen_run(tmp_path)))
    shutil.rmtree(tmp_path / "run")
    model = train(frozen_run(tmp_path, f"{donor}:encoder", f"{donor}:asr_head"))
    taken = {"encoder", "asr_head"}
    theirs, own = (equal_parts(weights_of(model), w) for w in (weights_of(donor), scratch))
    assert {part for part, equal in theirs.items() if equal} == taken
    assert {part for part, equal in own.items() if equal} == {"st_head", "decoder"}
    assert same_file(SOURCE_SPM, model, donor) and same_file(CMVN, model, donor)
    assert not same_file(TARGET_SPM, model, donor)
    count = len([name for name in weights_of(donor) if name.startswith("encoder.")])
    assert f"encoder of {donor}: {count} weights are taken" in caplog.text
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    records = {r["kind"]: r for r in map(json.loads, log) if r["kind"].startswith("init")}
    assert records.keys() == {"init_encoder", "init_asr_head"}
    assert records["init_encoder"]["taken"] == count and records["init_encoder"]["left"] == 0


def test_what_does_not_fit_is_named_and_the_rest_is_taken(
    donor: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = train(frozen_run(tmp_path, str(donor), st_ffn_dim=24))
    ours, theirs = weights_of(model), weights_of(donor)
    other = [name for name in theirs if ours[name].shape != theirs[name].shape]
    assert other and all(name.startswith("st_head.") for name in other)
    assert all(torch.equal(ours[name], theirs[name]) for name in set(theirs) - set(other))
    assert f"{len(other)} are not, the first: `st_head." in caplog.text
    assert "has shape (32, 16) there and (24, 16) here" in caplog.text


def test_a_resumed_run_needs_its_initial_model_no_more(donor: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(donor, tmp_path / "copy"))
    config = dataclasses.replace(tiny_run(tmp_path), steps=2, init_from=str(copy))
    before = weights_of(train(config))
    shutil.rmtree(copy)
    assert set(equal_parts(weights_of(train(config)), before).values()) == {True}


@pytest.mark.parametrize(
    ("entries", "network", "message"),
    [
        (["none"], {}, "none does not exist"),
        (["DONOR:heads"], {}, "one of encoder, asr_head, st_head, decoder, but is"),
        (["DONOR", "DONOR:encoder"], {}, "names the encoder twice: DONOR:encoder is the second"),
        (["DONOR:decoder"], {"decoder_layers": 0}, "the network of the run has no decoder"),
        (["DONOR:st_head", "OTHER:asr_head"], {}, "different files spm_src.model"),
        (["DONOR"], {"source_emission_unit": "char"}, "`source_emission_unit` is word in DONOR"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_before_anything_is_made(
    donor: Path, tmp_path: Path, entries: list[str], network: dict[str, object], message: str
) -> None:
    other = Path(shutil.copytree(donor, tmp_path / "other"))
    (other / SOURCE_SPM).write_bytes((donor / TARGET_SPM).read_bytes())
    names = {"DONOR": str(donor), "OTHER": str(other)}
    for name, path in names.items():
        entries = [entry.replace(name, path) for entry in entries]
        message = message.replace(name, path)
    with pytest.raises((ConfigError, ModelFolderError), match=message):
        train(frozen_run(tmp_path, *entries, **network))
    assert not (tmp_path / "run").exists()


def test_a_model_of_another_width_is_refused(donor: Path, tmp_path: Path) -> None:
    config = frozen_run(tmp_path, f"{donor}:encoder")
    encoder = dataclasses.replace(config.network.encoder, embed_dim=32)
    network = dataclasses.replace(config.network, encoder=encoder)
    with pytest.raises(ConfigError, match=r"`init_from` is of another network .* has shape"):
        train(dataclasses.replace(config, network=network))
