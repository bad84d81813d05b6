"""Unit models and tables of units: nearest centroids, files that are refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray
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


def centroids(**found: NDArray[np.generic]) -> Callable[[Path], object]:
    return lambda folder: save_file(found, folder / "centroids.safetensors")


def config(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.yaml").write_text(text)


def cut_off(folder: Path) -> None:
    path = folder / "centroids.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def a_folder(folder: Path) -> None:
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").mkdir()


GOOD = np.zeros((12, 80), np.float32)
WRONG = r"must hold `centroids` of shape \(12, 80\) in float32"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (centroids(centroids=np.full_like(GOOD, np.nan)), "NaN"),
        (
            centroids(centroids=np.where(np.eye(12, 80), np.inf, GOOD).astype(np.float32)),
            "infinity",
        ),
        (centroids(centroids=GOOD.astype(np.float64)), WRONG + ".*float64"),
        (centroids(centroids=GOOD[:11]), WRONG),
        (centroids(centroids=GOOD[:, 1:]), WRONG),
        (centroids(centroids=GOOD[0]), WRONG),
        (centroids(centroids=GOOD.astype(np.int64)), WRONG),
        (centroids(centroids=GOOD, others=GOOD), WRONG),
        (centroids(units=GOOD), WRONG),
        (cut_off, "not a readable safetensors file"),
        (lambda folder: (folder / "centroids.safetensors").unlink(), "no file centroids.safetenso"),
        (a_folder, "has no file config.yaml"),
        (config("num_units: 12\nrate: 25\n"), "`rate` must be 50, but is 25"),
        (config("num_units: 12\nfeatures: mhubert\n"), "`features` must be logmel80"),
        (config("num_units: 1000000\n"), "`num_units` must be 1 to 100000"),
        (config("num_units: 12.0\n"), "`num_units` must be int, but is 12.0"),
        (config("num_units: 11\n"), r"of shape \(11, 80\)"),
        (config("num_units: 12\nspeakers: 2\n"), "`speakers` is not a key"),
        (config(""), "`num_units` is missing"),
        (config("{["), "this is not YAML"),
        (config("- 12\n"), "must be a mapping of keys"),
    ],
)
def test_a_damaged_or_foreign_unit_model_is_refused(
    model: UnitModel, tmp_path: Path, damage: Callable[[Path], object], message: str
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


@pytest.mark.parametrize(("size", "rate"), [(319, 16_000), (159, 8_000)])
def test_a_recording_without_a_unit_is_named(tmp_path: Path, size: int, rate: int) -> None:
    table = read_unit_table(write_speech_table(tmp_path, count=2))
    sf.write(tmp_path / "t1.flac", buzz(2, 0)[:size], rate)
    with pytest.raises(AudioError, match=r"line 3: `tgt_audio` must have at least 20 ms, a unit"):
        table.samples(table.rows[1])
    sf.write(tmp_path / "t1.flac", buzz(2, 0)[: size + 1], rate)
    assert len(table.samples(table.rows[1])) == 320


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
        ("1 +2", "ids of units, but holds '\\+2'"),
        ("1 1_0", "ids of units"),
        ("1,2", "ids of units, but holds '1,2'"),
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
        ("id\ttgt_audio\n\t1\n", "line 2: `id` is empty"),
        ("id\ttgt_audio\na\t1\na\t2\n", "line 3: the id `a` comes twice"),
        ("id,tgt_audio\na,1\n", "`id` is missing; found .*id,tgt_audio"),
        ("id\ttgt_audio\na\t1 \0 2\n", "line 2: it holds NUL"),
        ("id\ttgt_audio\na\t1\n".encode("utf-16"), "must be UTF-8, but looks like UTF-16"),
        (b"id\ttgt_audio\n\xe9\t1\n", "line 2: it is not UTF-8"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    path = tmp_path / "u.tsv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(TableError, match=message) as caught:
        read_unit_table(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("text", ["\ufeff{}", "{}"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_all_line_ends_are_understood(
    tmp_path: Path, text: str, end: str
) -> None:
    path = tmp_path / "u.tsv"
    lines = end.join(["id\ttgt_audio", "a\t1 2", "", "b\t3", ""])
    path.write_bytes(text.format(lines).encode())
    table = read_unit_table(path)
    assert [(row.line, table.units(row, 7).tolist()) for row in table.rows] == [
        (2, [1, 2]),
        (4, [3]),
    ]


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "u.tsv")
    with pytest.raises(TableError, match="must be a file, but is a folder, a pipe or a device"):
        read_unit_table(tmp_path / "u.tsv")


@pytest.mark.parametrize("factor", [32768.0, np.nan])
def test_a_recording_of_whole_numbers_or_nan_is_named(tmp_path: Path, factor: float) -> None:
    path = write_speech_table(tmp_path)
    sf.write(tmp_path / "t1.flac".replace("flac", "wav"), factor * buzz(5, 1), 16_000, "FLOAT")
    path.write_text(path.read_text().replace("t1.flac", "t1.wav"))
    table = read_unit_table(path)
    with pytest.raises(AudioError, match=r"line 3: `tgt_audio` must have samples in \[-1, 1\]"):
        table.samples(table.rows[1])
