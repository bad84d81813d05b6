"""Training of a unit decoder of the kind ctc: it learns, and says what it cannot learn."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_units import FAST, make_unit_corpus, unit_network

from echostream.config import ConfigError
from echostream.data.table_text import TableError
from echostream.speech_config import CTC
from echostream.speech_folder import load_unit_decoder
from echostream.training.part_config import UnitDataConfig
from echostream.training.unit_decoder.config import UnitLossConfig, UnitTrainConfig
from echostream.training.unit_decoder.data import read_unit_data
from echostream.training.unit_decoder.score import CtcScores, score
from echostream.training.unit_decoder.train import train_unit_decoder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> UnitDataConfig:
    return make_unit_corpus(tmp_path_factory.mktemp("units"))


def ctc_run(
    data: UnitDataConfig, output: Path, steps: int, loss: UnitLossConfig, **network: int | str
) -> UnitTrainConfig:
    return UnitTrainConfig(
        output=str(output),
        steps=steps,
        data=data,
        network=unit_network(kind=CTC, **network),
        loss=loss,
        optim=FAST,
        checkpoint_steps=steps,
    )


def scores_of(config: UnitTrainConfig) -> CtcScores:
    found = score(
        load_unit_decoder(train_unit_decoder(config)),
        read_unit_data(config.data, config.network).dev,
        None,
    )
    assert isinstance(found, CtcScores)
    return found


@pytest.mark.parametrize("glancing", [0.0, 0.5])
def test_sixteen_texts_are_learned_by_heart(
    data: UnitDataConfig, tmp_path: Path, glancing: float
) -> None:
    loss = UnitLossConfig(aligned_steps=60, near_units=0.0, glancing=glancing)
    found = scores_of(ctc_run(data, tmp_path / "run", 160, loss))
    assert found.unit_error_rate < 8
    assert 0.93 < found.length_ratio < 1.07


def test_units_of_a_foreign_model_without_word_ends_are_learned(tmp_path: Path) -> None:
    """By CTC alone, which is what StreamSpeech has: ids of mHuBERT, and their texts."""
    data = dataclasses.replace(make_unit_corpus(tmp_path, word_ends=False), units=None)
    loss = UnitLossConfig(aligned_steps=80)
    config = ctc_run(data, tmp_path / "run", 240, loss, units="mhubert_km1000")
    found = scores_of(config)
    assert found.unit_error_rate < 45
    trained = load_unit_decoder(tmp_path / "run" / "model")
    assert (trained.units, trained.num_units) == ("mhubert_km1000", config.network.num_units)
    assert "mhubert_km1000" in (tmp_path / "run" / "model" / "README.md").read_text()


def test_a_decoder_that_writes_blanks_is_warned_of(
    data: UnitDataConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = ctc_run(data, tmp_path / "run", 12, UnitLossConfig(aligned_steps=0))
    with caplog.at_level(logging.WARNING):
        found = scores_of(config)
    assert found.length_ratio < 0.3
    assert "its alignments have collapsed to blanks" in caplog.text


def test_texts_that_ctc_cannot_reach_are_counted_and_named_before_the_run(
    data: UnitDataConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = ctc_run(data, tmp_path / "run", 1, UnitLossConfig(), unit_upsample=2)
    with caplog.at_level(logging.WARNING):
        kept = read_unit_data(config.data, config.network).train
    assert 0 < len(kept) < 16
    assert f"{16 - len(kept)} of 16 rows have more units than CTC can reach" in caplog.text
    assert "lines " in caplog.text
    none = ctc_run(data, tmp_path / "run", 1, UnitLossConfig(), unit_upsample=1, max_tokens=1)
    with pytest.raises(TableError, match="no row can be learned: all 16"):
        train_unit_decoder(none)


def test_units_of_our_own_need_their_unit_model(data: UnitDataConfig, tmp_path: Path) -> None:
    without = dataclasses.replace(data, units=None)
    with pytest.raises(ConfigError, match=r"`data.units` must be a unit model"):
        train_unit_decoder(ctc_run(without, tmp_path, 1, UnitLossConfig()))


def test_a_run_begins_with_the_weights_of_another_decoder(
    data: UnitDataConfig, tmp_path: Path
) -> None:
    first = train_unit_decoder(ctc_run(data, tmp_path / "a", 3, UnitLossConfig()))
    config = ctc_run(data, tmp_path / "b", 1, UnitLossConfig())
    still = dataclasses.replace(FAST, lr=0.0)
    second = train_unit_decoder(dataclasses.replace(config, init_from=str(first), optim=still))
    one, other = (load_file(path / "model.safetensors") for path in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one)
    smaller = ctc_run(data, tmp_path / "c", 1, UnitLossConfig(), dim=16)
    with pytest.raises(ConfigError, match=r"`init_from` must be a unit decoder of .*dim=16"):
        train_unit_decoder(dataclasses.replace(smaller, init_from=str(first)))
