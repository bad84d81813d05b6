"""Where the utterances of a run come from: tables in a new order each pass, or the grammar."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from tiny_corpora import write_text
from tiny_training import utterance, write_table

from echostream.cli import main
from echostream.config import ConfigError
from echostream.data.table import TableError, read_tsv
from echostream.training.config import DataConfig
from echostream.training.sources import (
    TableSpeech,
    draw_pairs,
    limit,
    open_sources,
    random_pair,
)


@pytest.fixture
def speech(tmp_path: Path) -> TableSpeech:
    return TableSpeech(write_table(tmp_path / "table.tsv", range(6)), seed=3)


def test_a_table_is_given_out_anew_in_each_pass(speech: TableSpeech) -> None:
    passes = [[speech.utterance(6 * n + i).id for i in range(6)] for n in range(4)]
    assert all(sorted(ids) == [f"u{i}" for i in range(6)] for ids in passes)
    assert len({tuple(ids) for ids in passes}) > 1
    for index in (23, 0, 11, 5):  # in another order each has the same utterance
        assert speech.utterance(index).id == passes[index // 6][index % 6]


def test_the_texts_of_an_index_are_those_of_its_utterance(speech: TableSpeech) -> None:
    for index in range(12):
        found = speech.utterance(index)
        original = utterance(int(found.id[1:]))
        assert speech.pair(index) == (found.source, found.target)
        assert speech.pair(index) == (original.source, original.target)


def test_the_texts_of_a_table_are_there_without_its_audio_and_each_comes_once(
    speech: TableSpeech, tmp_path: Path
) -> None:
    for file in tmp_path.glob("*.flac"):
        file.unlink()
    texts = {(u.source, u.target) for u in map(utterance, range(6))}
    assert len(texts) == 6
    pairs = draw_pairs(speech, 20_000)
    assert len(pairs) == limit(speech, 20_000) == 6
    assert set(pairs) == texts
    assert draw_pairs(speech, 2) == pairs[:2]
    rng = random.Random(0)
    assert {random_pair(speech, rng) for _ in range(200)} == texts


def test_the_grammar_has_no_end_and_its_dev_sentences_are_not_trained_on() -> None:
    train, dev = open_sources(DataConfig())
    assert limit(train, 10**9) == 10**9
    pairs = draw_pairs(train, 300)
    assert len(pairs) == 300 and pairs == draw_pairs(train, 300)
    assert not {source for source, _ in pairs} & {source for source, _ in draw_pairs(dev, 50)}


def weigh(path: Path, *weights: str) -> Path:
    """The table with a column `weight`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    texts = (f"{line}\t{text}" for line, text in zip(lines, ("weight", *weights), strict=True))
    return write_text(path, *texts)


def test_several_tables_are_shuffled_together_by_their_weights(tmp_path: Path) -> None:
    first = weigh(write_table(tmp_path / "a.tsv", range(3)), "2", "", "0")
    second = write_table(tmp_path / "b.tsv", range(3, 5))
    speech = TableSpeech((first, second), seed=3)
    assert (len(speech), speech.num_rows) == (5, 5)
    passes = [[speech.utterance(5 * n + i).id for i in range(5)] for n in range(4)]
    assert all(sorted(ids) == ["u0", "u0", "u1", "u3", "u4"] for ids in passes)
    assert len({tuple(ids) for ids in passes}) > 1
    assert [speech.row(number).id for number in range(5)] == [f"u{n}" for n in range(5)]
    unweighted = TableSpeech((first, second), seed=3, weighted=False)
    assert sorted(unweighted.utterance(i).id for i in range(5)) == [f"u{n}" for n in range(5)]


def test_the_weight_of_a_table_multiplies_those_of_its_rows(tmp_path: Path) -> None:
    first = weigh(write_table(tmp_path / "a.tsv", range(3)), "2", "", "0")
    second = write_table(tmp_path / "b.tsv", range(3, 5))
    tables, dev = (str(first), str(second)), str(second)
    train, _ = open_sources(DataConfig(train_tsv=tables, dev_tsv=dev, train_weights=(1, 3)))
    ids = sorted(train.utterance(i).id for i in range(9))
    assert ids == ["u0", "u0", "u1", "u3", "u3", "u3", "u4", "u4", "u4"]
    assert isinstance(train, TableSpeech) and len(train) == 9


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 2.0, 3.0), (1.0, 0.0), (1.0, math.nan)])
def test_weights_that_are_not_those_of_the_tables_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"`data.train_weights` must"):
        DataConfig(train_tsv=("a.tsv", "b.tsv"), train_weights=weights)


def test_a_dev_set_is_used_once_whatever_its_weights(tmp_path: Path) -> None:
    path = str(weigh(write_table(tmp_path / "a.tsv", range(3)), "2", "5", "0"))
    train, dev = open_sources(DataConfig(train_tsv=path, dev_tsv=path))
    assert limit(train, 100) == 7 and limit(dev, 100) == 3


def test_a_table_that_is_prepared_keeps_its_weights(tmp_path: Path) -> None:
    path = weigh(write_table(tmp_path / "train.tsv", range(3)), "2", "0.25", "")
    words = ["data", "prepare", "tsv", str(path), "--output", str(tmp_path / "data")]
    assert main([*words, "--jobs", "1"]) == 0
    assert read_tsv(tmp_path / "data" / "train.tsv").weights.tolist() == [2, 0.25, 1]


def test_one_path_and_a_list_of_it_are_the_same_configuration() -> None:
    assert DataConfig(train_tsv="a.tsv") == DataConfig(train_tsv=("a.tsv",))
    with pytest.raises(ConfigError, match="must name at least one table"):
        DataConfig(train_tsv=())


@pytest.mark.parametrize("weight", ["-1", "nan", "inf", "1001", "x"])
def test_a_weight_that_is_not_possible_is_named(weight: str, tmp_path: Path) -> None:
    path = weigh(write_table(tmp_path / "a.tsv", range(2)), "1", weight)
    with pytest.raises(TableError, match=f"line 3: `weight` must be a number .* is '{weight}'"):
        read_tsv(path)


def test_tables_without_any_weight_are_refused(tmp_path: Path) -> None:
    path = weigh(write_table(tmp_path / "a.tsv", range(2)), "0", "0.0")
    with pytest.raises(ConfigError, match=r"a\.tsv: no row can be used: all weights are 0"):
        TableSpeech(path, 1)


@pytest.mark.parametrize("given", ["train_tsv", "dev_tsv"])
def test_one_table_without_the_other_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="`train_tsv` and `dev_tsv` must both be given"):
        open_sources(DataConfig(**{given: "table.tsv"}))
