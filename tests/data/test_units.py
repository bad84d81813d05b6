"""Unit models and tables of units: nearest centroids, files that are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from safetensors.numpy import save_file
from tones import buzz, write_speech_table

from echostream.config import ConfigError
from echostream.data.table import TableError
from echostream.data.unit_table import merge_repeats, read_unit_table, write_units
from echostream.data.units import UnitModel, UnitModelError, learn_units
from echostream.frontend.audio import AudioError
from echostream.frontend.unit_features import unit_features

UNIT = 320


def tone(hertz: float, num_units: int, level: float = 0.2) -> np.ndarray:
    wave = level * np.sin(2 * np.pi * hertz * np.arange(UNIT * num_units) / 16_000)
    return (wave + np.random.default_rng(0).normal(0, 1e-4, len(wave))).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> UnitModel:
    return learn_units([buzz(60, seed) for seed in range(3)], num_units=12)


def test_each_sound_has_one_unit_and_silence_is_unit_zero() -> None:
    silence = tone(100, 20, level=0)
    recordings = [silence, tone(300, 20), tone(2500, 20)]
    units = learn_units(recordings, num_units=3)
    found = [set(units.extract(samples)[1:-1]) for samples in recordings]
    assert found[0] == {0}
    assert sorted(len(ids) for ids in found) == [1, 1, 1]
    assert found[1] != found[2]


def test_a_unit_is_the_nearest_centroid(model: UnitModel) -> None:
    samples = buzz(30, seed=9)
    expected = [
        min(range(12), key=lambda k: float(((frame - model.centroids[k]) ** 2).sum()))
        for frame in unit_features(samples).astype(np.float64)
    ]
    assert model.extract(samples).tolist() == expected
    assert len(set(expected)) > 3


@pytest.mark.parametrize("size", [0, 319, 320, 961])
def test_a_recording_has_a_unit_for_each_20_ms(model: UnitModel, size: int) -> None:
    assert model.extract(buzz(4, 0)[:size]).shape == (size // UNIT,)


def test_a_saved_model_gives_the_same_units(model: UnitModel, tmp_path: Path) -> None:
    model.save(tmp_path / "units")
    again = UnitModel.load(tmp_path / "units")
    assert (again.centroids == model.centroids).all()
    assert sorted(path.name for path in (tmp_path / "units").iterdir()) == [
        "centroids.safetensors",
        "config.yaml",
    ]


def test_learning_twice_gives_the_same_units(model: UnitModel) -> None:
    again = learn_units([buzz(60, seed) for seed in range(3)], num_units=12)
    assert (again.centroids == model.centroids).all()


def nan(folder: Path) -> None:
    save_file(
        {"centroids": np.full((12, 80), np.nan, np.float32)}, folder / "centroids.safetensors"
    )


def of_another_size(folder: Path) -> None:
    save_file({"centroids": np.zeros((11, 80), np.float32)}, folder / "centroids.safetensors")


def cut_off(folder: Path) -> None:
    path = folder / "centroids.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def without_centroids(folder: Path) -> None:
    (folder / "centroids.safetensors").unlink()


def at_25_hz(folder: Path) -> None:
    (folder / "config.yaml").write_text("num_units: 12\nrate: 25\n")


def of_a_network(folder: Path) -> None:
    (folder / "config.yaml").write_text("num_units: 12\nfeatures: mhubert\n")


def of_many(folder: Path) -> None:
    (folder / "config.yaml").write_text("num_units: 1000000\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (nan, "NaN"),
        (of_another_size, r"\(12, 80\)"),
        (cut_off, "not a readable safetensors file"),
        (without_centroids, "has no file centroids.safetensors"),
        (at_25_hz, "`rate` must be 50, but is 25"),
        (of_a_network, "`features` must be logmel80"),
        (of_many, "`num_units` must be 1 to 100000"),
    ],
)
def test_a_damaged_or_foreign_unit_model_is_refused(
    model: UnitModel, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    model.save(tmp_path)
    damage(tmp_path)
    with pytest.raises((UnitModelError, ConfigError), match=message) as caught:
        UnitModel.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("num_units", [0, -1, 100_001])
def test_an_impossible_number_of_units_is_refused(num_units: int) -> None:
    with pytest.raises(UnitModelError, match="`num_units` must be 1 to 100000"):
        learn_units([buzz(10, 0)], num_units)


def test_more_units_than_different_frames_are_refused() -> None:
    with pytest.raises(UnitModelError, match="different frames of 20 ms, but there are 5"):
        learn_units([buzz(5, 0), np.empty(0, np.float32)], 6)


def test_a_written_table_has_ids_and_counts_and_all_other_columns(tmp_path: Path) -> None:
    table = read_unit_table(write_speech_table(tmp_path, count=2))
    units = [np.array([3, 3, 5, 5, 3]), np.array([1])]
    write_units(tmp_path / "u.tsv", table, units)
    write_units(tmp_path / "r.tsv", table, units, reduce=True)
    lines = [(tmp_path / name).read_text().splitlines() for name in ("u.tsv", "r.tsv")]
    assert lines[0][0] == lines[1][0] == "\t".join(table.columns)
    assert lines[0][1].split("\t") == ["t0", "none.wav", "la la", "3 3 5 5 3", "5", "20 40"]
    assert lines[1][1].split("\t") == ["t0", "none.wav", "la la", "3 5 3", "3", "20 40"]
    again = read_unit_table(tmp_path / "u.tsv")
    assert [again.units(row, 6).tolist() for row in again.rows] == [[3, 3, 5, 5, 3], [1]]


def test_a_recording_without_a_unit_is_named(tmp_path: Path) -> None:
    table = read_unit_table(write_speech_table(tmp_path, count=2))
    with pytest.raises(TableError, match="line 3: the recording is shorter than a unit"):
        write_units(tmp_path / "u.tsv", table, [np.array([3]), np.array([], np.int64)])
    assert not (tmp_path / "u.tsv").exists()


def test_merging_keeps_a_repeat_after_another_unit() -> None:
    assert merge_repeats(np.array([0, 0, 1, 0, 0, 0])).tolist() == [0, 1, 0]
    assert merge_repeats(np.array([], np.int64)).tolist() == []


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("1 2 7", "ids from 0 to 6, but holds 7"),
        ("1 -2", "ids of units, but holds '-2'"),
        ("1 2.0", "ids of units, but holds '2.0'"),
        ("t0.flac", "ids of units, but holds 't0.flac'"),
        ("1 \u0663", "ids of units"),
        ("1 " + "9" * 5000, "ids from 0 to 6, but holds 9999"),
    ],
)
def test_what_is_no_unit_is_named_with_its_line(tmp_path: Path, ids: str, message: str) -> None:
    path = tmp_path / "u.tsv"
    path.write_text(f"id\ttgt_audio\na\t1 2\nb\t{ids}\n", encoding="utf-8")
    table = read_unit_table(path)
    assert table.units(table.rows[0], 7).tolist() == [1, 2]
    with pytest.raises(TableError, match=message) as caught:
        table.units(table.rows[1], 7)
    assert f"{path}, line 3" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`id` is missing"),
        ("id\tx\na\t1\n", "`tgt_audio` is missing"),
        ("id\ttgt_audio\ttgt_audio\na\t1\t1\n", "comes twice"),
        ("id\ttgt_audio\n", "no lines"),
        ("id\ttgt_audio\na\t1\t2\n", "line 2: 2 fields"),
        ("id\ttgt_audio\na\t \n", "line 2: `tgt_audio` is empty"),
        ("id\ttgt_audio\na\t1\na\t2\n", "line 3: the id `a` comes twice"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "u.tsv"
    path.write_text(text)
    with pytest.raises(TableError, match=message):
        read_unit_table(path)


@pytest.mark.parametrize("factor", [32768.0, np.nan])
def test_a_recording_of_whole_numbers_or_nan_is_named(tmp_path: Path, factor: float) -> None:
    path = write_speech_table(tmp_path)
    sf.write(tmp_path / "t1.flac".replace("flac", "wav"), factor * buzz(5, 1), 16_000, "FLOAT")
    path.write_text(path.read_text().replace("t1.flac", "t1.wav"))
    table = read_unit_table(path)
    with pytest.raises(AudioError, match=r"line 3: `tgt_audio` must have samples in \[-1, 1\]"):
        table.samples(table.rows[1])
