"""Recordings in tar files are those of the files, and a pass reads few of these at a time."""

from __future__ import annotations

import dataclasses
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from tiny_corpora import write_text
from tiny_training import tiny_run, write_table

from echostream.cli import main
from echostream.data import shard_file, shards
from echostream.data.shard_file import _MOST_OPEN, Place, ShardReader
from echostream.data.table import Table, read_tsv
from echostream.files import LOCK
from echostream.frontend.audio import AudioError
from echostream.training.order import WINDOW, EpochOrder
from echostream.training.sources import TableSpeech
from echostream.training.train import train

Captured = pytest.CaptureFixture[str]


def sharded(table: Path, output: Path, number: int, jobs: int = 1) -> Table:
    flags = ["--shard-utterances", str(number), "--jobs", str(jobs)]
    assert main(["data", "shard", str(table), "--output", str(output), *flags]) == 0
    return read_tsv(output / table.name)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != LOCK)


@pytest.mark.parametrize(("count", "jobs"), [(1, 1), (4, 2), (5, 1), (99, 1)])
def test_a_sharded_table_has_the_samples_and_texts_of_the_files(
    count: int, jobs: int, tmp_path: Path
) -> None:
    path = write_table(tmp_path / "a.tsv", range(9))
    text = path.read_text(encoding="utf-8")
    text = text.replace("u3\t", "é l'été " * 40 + "\t")  # no name of a file
    path.write_text(text.replace("cat", r"\"cat\\"), encoding="utf-8")
    write_text(tmp_path / "text.yaml", "case: lower")
    found = sharded(path, tmp_path / "shards", count, jobs)
    num_shards = -(-9 // count)
    assert len(list((tmp_path / "shards").glob("a-*.tar"))) == num_shards
    assert (tmp_path / "shards" / "text.yaml").read_text() == "case: lower\n"
    by_id = {item.id: item for item in found}
    original = read_tsv(path)
    names_in_order = [item.id for item in original]
    assert by_id.keys() == set(names_in_order) and list(by_id) != names_in_order
    for item in original:
        other = by_id[item.id]
        assert np.array_equal(other.samples, item.samples)
        assert (other.source, other.target) == (item.source, item.target)
    assert set(found.shards) == set(range(num_shards))
    for row in found.rows:
        assert row.seconds == pytest.approx(len(by_id[row.id].samples) / 16_000, abs=1e-6)
    assert main(["data", "check", str(found.path), "--jobs", "1", "--max-rate", "99"]) == 0


def test_a_sharded_table_is_not_prepared_again(tmp_path: Path, capsys: Captured) -> None:
    table = sharded(write_table(tmp_path / "a.tsv", range(2)), tmp_path / "shards", 2)
    words = ["data", "prepare", "tsv", str(table.path), "--output", str(tmp_path / "again")]
    assert main([*words, "--jobs", "1"]) == 2
    assert "a recording in a shard" in capsys.readouterr().err


def test_the_extremes_of_16_bits_are_kept(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.tsv", range(1))
    samples = np.array([-32768, -32767, -16385, -1, 0, 1, 16385, 32766, 32767] * 200, np.int16)
    sf.write(tmp_path / "u0.flac", samples, 16_000)
    found = sharded(path, tmp_path / "shards", 1)[0].samples
    assert np.array_equal(np.round(found * 32768).astype(np.int16), samples)


def test_a_call_that_was_stopped_goes_on_and_nothing_is_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_table(tmp_path / "a.tsv", range(6))
    whole = sharded(path, tmp_path / "whole", 2)
    output, encode, encoded = tmp_path / "shards", shard_file.flac, 0

    def stopped_at_the_fourth(samples: np.ndarray) -> bytes:
        nonlocal encoded
        encoded += 1
        if encoded == 4:
            raise KeyboardInterrupt
        return encode(samples)

    monkeypatch.setattr(shard_file, "flac", stopped_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        shards.write_shards(path, output, 2, 1)
    assert names(output) == ["a-000001.tar"]
    sharded(path, output, 2)
    assert encoded == 4 + 4  # the first shard is not made again
    assert names(output) == names(tmp_path / "whole")
    for name in names(output):
        assert (output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(whole) == 6
    sharded(path, output, 4)  # two larger ones
    assert names(output) == ["a-000001.tar", "a-000002.tar", "a.tsv"]
    encoded = 4  # beyond the one that stops
    (tmp_path / "u5.flac").touch()
    sharded(path, output, 4)
    assert encoded in (4 + 2, 4 + 4)  # the shard of the recording that has changed
    with (output / "a-000001.tar").open("r+b") as file:
        file.truncate(3000)
    assert len(sharded(path, output, 4)) == 6
    assert all(len(item.samples) for item in read_tsv(output / "a.tsv"))


def test_a_recording_that_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, capsys: Captured
) -> None:
    path = write_table(tmp_path / "a.tsv", range(4))
    (tmp_path / "u2.flac").write_text("not audio")
    found = sharded(path, tmp_path / "shards", 2)
    assert sorted(row.id for row in found.rows) == ["u0", "u1", "u3"]
    output = capsys.readouterr()
    assert "left out" in output.err and "a.tsv, line 4" in output.err
    assert "a.tsv: 3 rows in 2 shards" in output.out


def test_a_table_does_not_replace_itself(tmp_path: Path, capsys: Captured) -> None:
    path = write_table(tmp_path / "a.tsv", range(2))
    assert main(["data", "shard", str(path), "--output", str(tmp_path)]) == 2
    assert "would replace the file" in capsys.readouterr().err
    assert len(read_tsv(path)) == 2


def test_a_shard_that_is_cut_off_or_another_is_named_with_the_line(
    tmp_path: Path, capsys: Captured
) -> None:
    table = sharded(write_table(tmp_path / "a.tsv", range(3)), tmp_path / "shards", 3)
    shard = tmp_path / "shards" / "a-000001.tar"
    place = table.rows[2].place
    assert place is not None
    for wrong, message in (
        (place._replace(offset=place.offset - 512), "no member at byte"),
        (place._replace(offset=100), "cannot be read as a shard"),
        (place._replace(length=place.length - 1), "do not belong together"),
    ):
        with pytest.raises(AudioError, match=rf"a-000001\.tar.*{message}"):
            ShardReader().read(shard, wrong)
    with shard.open("r+b") as file:
        file.truncate(place.offset + 1000)
    assert len(table[1].samples)
    with pytest.raises(AudioError, match=rf"a\.tsv, line 4: .*cut off after {place.offset + 1000}"):
        table[2]
    assert main(["data", "check", str(table.path), "--jobs", "1"]) == 1
    assert "line 4 (" in capsys.readouterr().out
    shard.unlink()
    (fault, *_) = read_tsv(table.path).missing()
    assert "a-000001.tar" in fault and "there is no such file" in fault


def test_a_reader_keeps_one_file_open_for_each_shard_and_no_more_than_its_limit(
    tmp_path: Path,
) -> None:
    def num_open() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("the system does not list the files that are open")
    content = shard_file.flac(np.zeros(160, np.float32))
    paths = [tmp_path / f"{n}.tar" for n in range(_MOST_OPEN + 3)]
    member = tarfile.TarInfo("a.flac")
    member.size = len(content)
    for path in paths:
        path.write_bytes(member.tobuf() + content)
    reader, before = ShardReader(), num_open()
    for _ in range(3):
        for path in paths[:2]:
            reader.read(path, Place(512, len(content)))
    assert num_open() == before + 2
    for path in paths:
        reader.read(path, Place(512, len(content)))
    assert num_open() == before + _MOST_OPEN
    del reader
    assert num_open() == before


def test_a_training_reads_shards_in_another_process(tmp_path: Path) -> None:
    config = tiny_run(tmp_path, num_workers=1)
    for table in (*(config.data.train_tsv or ()), config.data.dev_tsv):
        sharded(Path(str(table)), tmp_path / "shards", 2)
    for file in tmp_path.glob("*.flac"):
        file.unlink()
    tables = [str(tmp_path / "shards" / f"{split}.tsv") for split in ("train", "dev")]
    data = dataclasses.replace(config.data, train_tsv=tables[0], dev_tsv=tables[1])
    model = train(dataclasses.replace(config, steps=3, data=data))
    assert (model / "model.safetensors").is_file()


def test_a_pass_reads_few_shards_at_a_time_and_each_row_once() -> None:
    held = np.repeat(np.arange(20), 50)
    order = EpochOrder(np.ones(1000), 1, held)
    for number in range(2):
        rows = np.array([order.row(1000 * number + i) for i in range(1000)])
        assert sorted(rows) == list(range(1000))
        for start in range(0, 1000, 50 * WINDOW):
            window = held[rows[start : start + 50 * WINDOW]]
            assert len(set(window)) == WINDOW
            assert len(set(window[:40])) == WINDOW  # they are mixed
        for start in range(801):  # wherever a block of utterances begins
            assert len(set(held[rows[start : start + 200]])) <= 2 * WINDOW
        windows = [set(held[rows[s : s + 200]]) for s in range(0, 1000, 200)]
        assert windows != [set(range(s, s + WINDOW)) for s in range(0, 20, WINDOW)]


def test_a_pass_opens_each_shard_once_though_few_stay_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharded(write_table(tmp_path / "a.tsv", range(24)), tmp_path / "shards", 2)
    speech = TableSpeech(tmp_path / "shards" / "a.tsv", seed=1)
    monkeypatch.setattr(shard_file, "_MOST_OPEN", WINDOW)
    opened, open_file = [], os.open

    def counted(path: Path, flags: int) -> int:
        opened.append(Path(path).name)
        return open_file(path, flags)

    monkeypatch.setattr(shard_file.os, "open", counted)
    found = {speech.utterance(index).id for index in range(24)}
    assert len(found) == 24
    assert sorted(opened) == [f"a-{number:06d}.tar" for number in range(1, 13)]


def test_rows_in_shards_and_in_files_are_shuffled_together() -> None:
    held = np.concatenate([np.repeat(np.arange(8), 50), np.full(400, -1)])
    order = EpochOrder(np.where(held < 0, 1.0, 2.0), 1, held)
    rows = np.array([order.row(i) for i in range(order.size)])
    counts = np.bincount(rows)
    assert (counts[:400] == 2).all() and (counts[400:] == 1).all()
    for half in np.split(rows, 2):
        assert 130 < (held[half] < 0).sum() < 270
