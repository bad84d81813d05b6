"""Training of a unit decoder of the kind frame: it learns, resumes, names what it cannot use."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import pytest
import torch
import yaml
from killed_run import Killed, kill_after
from safetensors.torch import load_file
from tiny_units import FAST, make_unit_corpus, unit_network

from echostream.cli import main
from echostream.config import ConfigError, to_dict
from echostream.data.table_text import TableError
from echostream.speech_folder import load_unit_decoder
from echostream.training.kinds import load_run_config, run_training
from echostream.training.part_config import UnitDataConfig
from echostream.training.unit_decoder.config import UnitTrainConfig
from echostream.training.unit_decoder.train import train_unit_decoder

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> UnitDataConfig:
    return make_unit_corpus(tmp_path_factory.mktemp("units"))


def frame_run(data: UnitDataConfig, output: Path, steps: int) -> UnitTrainConfig:
    return UnitTrainConfig(
        output=str(output),
        steps=steps,
        data=dataclasses.replace(data, batch_size=8),
        network=unit_network(max_duration=20),
        optim=FAST,
        checkpoint_steps=max(1, steps // 3),
        keep_checkpoints=2,
    )


def log_of(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls_and_sixteen_texts_are_learned_by_heart(
    data: UnitDataConfig, tmp_path: Path
) -> None:
    path = tmp_path / "unit_decoder.yaml"
    config = frame_run(data, tmp_path / "run", 120)
    config = dataclasses.replace(
        config, loss=dataclasses.replace(config.loss, near_units=0.0), checkpoint_steps=20
    )
    path.write_text(yaml.safe_dump(to_dict(config)))
    folder = run_training(load_run_config(path))
    assert folder == tmp_path / "run" / "model"
    lines = log_of(tmp_path / "run")
    trained = [line for line in lines if "loss" in line]
    held_out = [line for line in lines if "unit_error_rate" in line]
    assert [line["step"] for line in trained] == [20, 40, 60, 80, 100, 120]
    assert trained[-1]["loss"] < 0.5 * trained[0]["loss"]
    assert held_out[-1]["unit_error_rate"] < 15 < held_out[0]["unit_error_rate"]
    assert held_out[-1]["duration_error"] < 20  # ms, less than a unit
    assert "16 texts of units.tsv" in (folder / "README.md").read_text().replace("\n", " ")
    decoder = load_unit_decoder(folder)
    assert (decoder.config.vocab_size, decoder.num_units) == (24, 12)


@pytest.mark.parametrize("killed_after", [1, 3, 5])
def test_a_run_that_was_killed_and_resumed_has_the_weights_of_one_that_was_not(
    data: UnitDataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    whole = train_unit_decoder(frame_run(data, tmp_path / "whole", 6))
    config = frame_run(data, tmp_path / "killed", 6)
    revive = kill_after(killed_after, monkeypatch)
    with pytest.raises(Killed):
        train_unit_decoder(config)
    revive()
    resumed = train_unit_decoder(config)
    one, other = (load_file(path / "model.safetensors") for path in (whole, resumed))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def edited(data: UnitDataConfig, folder: Path, old: str, new: str) -> UnitDataConfig:
    """The data with a table in which a text has been replaced."""
    text = Path(data.train_tsv).read_text()
    assert old in text
    folder.mkdir(exist_ok=True)
    (folder / "units.tsv").write_text(text.replace(old, new, 1))
    return dataclasses.replace(data, train_tsv=str(folder / "units.tsv"))


BAD_TABLES = {
    "no texts": ("tgt_text", "text", "the column `tgt_text` is missing"),
    "no units": ("tgt_audio", "audio", "the column `tgt_audio` is missing"),
    "no word ends": ("tgt_word_ends", "ends", "the column `tgt_word_ends` is missing"),
    "a column twice": ("tgt_word_ends", "id", "a column comes twice"),
    "an id twice": ("\nt1\t", "\nt0\t", "line 3: the id `t0` comes twice, first in line 2"),
    "a field too many": ("\nt3\t", "\nt3\t\t", "line 5: 4 fields are needed, but it has 5"),
}


@pytest.mark.parametrize(("old", "new", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_table_that_cannot_be_learned_from_is_named(
    data: UnitDataConfig, tmp_path: Path, old: str, new: str, message: str
) -> None:
    wrong = edited(data, tmp_path, old, new)
    with pytest.raises(TableError, match=message) as caught:
        train_unit_decoder(frame_run(wrong, tmp_path / "run", 1))
    assert wrong.train_tsv in str(caught.value)
    assert not (tmp_path / "run").exists()


def with_row(
    data: UnitDataConfig, folder: Path, text: str, units: str, ends: str
) -> UnitDataConfig:
    """The data with one more row, in line 18."""
    path = folder / "units.tsv"
    path.write_text(Path(data.train_tsv).read_text() + f"x\t{text}\t{units}\t{ends}\n")
    return dataclasses.replace(data, train_tsv=str(path))


@pytest.mark.parametrize(
    ("units", "ends", "message"),
    [
        ("1 2 12", "2 3", "line 18: `tgt_audio` must be ids from 0 to 11, but holds 12"),
        ("1 -2 3", "2 3", "line 18: `tgt_audio` must be ids of units, but holds '-2'"),
        ("a.flac", "2 3", "line 18: `tgt_audio` must be ids of units, but holds 'a.flac'"),
        ("1 2 3", "2 x", "line 18: `tgt_word_ends` must be numbers of units, but holds 'x'"),
        ("1 2 3", "-2 3", "line 18: `tgt_word_ends` must be numbers of units, but holds '-2'"),
        ("1 2 3", "2 3.5", "line 18: `tgt_word_ends` must be numbers of units, but holds '3.5'"),
    ],
)
def test_what_is_no_unit_and_no_word_end_is_named_with_its_line(
    data: UnitDataConfig, tmp_path: Path, units: str, ends: str, message: str
) -> None:
    wrong = with_row(data, tmp_path, "the cat", units, ends)
    with pytest.raises(TableError, match=message):
        train_unit_decoder(frame_run(wrong, tmp_path / "run", 1))


@pytest.mark.parametrize(
    ("text", "units", "ends", "why"),
    [
        ("the cat", "1 2 3", "3", "have other words or units than `tgt_word_ends`"),
        ("the cat", "1 2 3", "2 4", "have other words or units than `tgt_word_ends`"),
        ("the cat", "1 2 3", "1 2 3", "have other words or units than `tgt_word_ends`"),
        ("the cat", "1 2 3", "0 3", "have a word of no unit, or of more than 20"),
        ("the cat", "1 " * 22, "1 22", "have a word of no unit, or of more than 20"),
        ("the cat eats", "1 2 3", "2 1 3", "have `tgt_word_ends` that do not rise"),
        (" ", "1 2 3", "3", "have no words"),
    ],
)
def test_a_row_that_does_not_fit_is_left_out_and_counted(
    data: UnitDataConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    text: str,
    units: str,
    ends: str,
    why: str,
) -> None:
    odd = with_row(data, tmp_path, text, units, ends)
    with caplog.at_level(logging.WARNING):
        folder = train_unit_decoder(frame_run(odd, tmp_path / "run", 1))
    assert f"{odd.train_tsv}: 1 of 17 rows {why}: lines 18" in caplog.text
    assert "16 texts of units.tsv" in (folder / "README.md").read_text().replace("\n", " ")


def test_a_folder_of_another_run_is_refused(data: UnitDataConfig, tmp_path: Path) -> None:
    config = frame_run(data, tmp_path / "run", 1)
    train_unit_decoder(config)
    other = not config.half_precision
    with pytest.raises(ConfigError, match=f"`half_precision` is {not other} there and {other} h"):
        train_unit_decoder(dataclasses.replace(config, half_precision=other))
    train_unit_decoder(dataclasses.replace(config, steps=2))  # which may change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1, but is 0"),
        ({"output": " "}, "`output` must be the folder of the run, but is empty"),
        ({"colour": "blue"}, "`colour` is not a key"),
        ({"kind": "unit-decoder"}, "`kind` must be one of vocoder, unit_decoder"),
        ({"data": {"train_tsv": "none.tsv"}}, "none.tsv"),
        ({"data": {"units": "none"}}, "none must be a unit model"),
        ({"data": {"text_model": "none"}}, "none"),
        ({"data": {"batch_size": 0}}, "`data.batch_size` must be at least 1, but is 0"),
        ({"optim": {"lr": -1.0}}, "`optim.lr`"),
        ({"network": {"num_heads": 3}}, "`dim` must be a multiple of `num_heads`"),
    ],
    ids=str,
)
def test_the_command_names_what_is_wrong_in_its_file(
    data: UnitDataConfig,
    tmp_path: Path,
    capsys: Capture,
    change: dict[str, object],
    message: str,
) -> None:
    values = to_dict(frame_run(data, tmp_path / "run", 1))
    for key, value in change.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    path = tmp_path / "unit_decoder.yaml"
    path.write_text(yaml.safe_dump(values))
    assert main(["train", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("echostream train: ") and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
