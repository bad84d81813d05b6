"""`echostream units` and `echostream train` of a vocoder: from recordings to speech again."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
import yaml
from limits import full_disk
from tiny_speech import make_speaking_folder
from tones import write_speech_table

from echostream.cli import main
from echostream.models.vocoder import UnitVocoder
from echostream.speech_config import VocoderConfig
from echostream.speech_folder import save_part

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_speech_table(tmp_path)


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_speaking_folder(tmp_path_factory.mktemp("speaking"))


@pytest.fixture
def vocoder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_part(tmp_path / "vocoder", UnitVocoder(VocoderConfig(9, 8, 16, 1, 3, 6, 9)))
    return tmp_path / "vocoder"


def test_recordings_become_units_and_speech_of_the_same_length(
    table: Path, vocoder: Path, tmp_path: Path, capsys: Capture
) -> None:
    units, ids, out = tmp_path / "units", tmp_path / "u.tsv", tmp_path / "out"
    assert main(["units", "learn", str(table), "--num-units", "9", "--output", str(units)]) == 0
    assert main(["units", "extract", str(units), str(table), "--output", str(ids)]) == 0
    assert main(["units", "resynth", str(vocoder), str(ids), "--output", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(units), str(ids), str(out)]
    header, *rows = (line.split("\t") for line in ids.read_text().splitlines())
    assert header == table.read_text().splitlines()[0].split("\t")
    for row in rows:
        found = dict(zip(header, row, strict=True))
        assert len(found["tgt_audio"].split()) == int(found["tgt_n_frames"]) == 40
        assert found["tgt_word_ends"] == "20 40"
    for index in range(3):
        samples, rate = sf.read(out / f"t{index}.wav")
        assert (len(samples), rate) == (320 * 40, 16_000)
        assert np.abs(samples).max() > 0.01


def test_reduced_units_have_no_repeats(table: Path, tmp_path: Path) -> None:
    units, ids = str(tmp_path / "units"), tmp_path / "u.tsv"
    assert main(["units", "learn", str(table), "--num-units", "4", "--output", units]) == 0
    assert main(["units", "extract", units, str(table), "--output", str(ids), "--reduce"]) == 0
    for line in ids.read_text().splitlines()[1:]:
        found = line.split("\t")[3].split()
        assert all(a != b for a, b in itertools.pairwise(found))
        assert len(found) == int(line.split("\t")[4]) < 40


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a\t1 9", "line 3: `tgt_audio` must be ids from 0 to 8, but holds 9"),
        ("a\tt0.flac", "line 3: `tgt_audio` must be ids of units"),
        ("../a\t1", "line 3: the id must do as the name of a file"),
        (".a\t1", "line 3: the id must do as the name of a file"),
    ],
)
def test_nothing_is_written_for_a_table_with_a_wrong_row(
    vocoder: Path, tmp_path: Path, capsys: Capture, row: str, message: str
) -> None:
    ids = tmp_path / "u.tsv"
    ids.write_text(f"id\ttgt_audio\nb\t1 2\n{row}\n")
    out = tmp_path / "out"
    assert main(["units", "resynth", str(vocoder), str(ids), "--output", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error and str(ids) in error
    assert not out.exists()


def test_a_missing_recording_or_unit_model_is_named(
    table: Path, tmp_path: Path, capsys: Capture
) -> None:
    output = ["--output", str(tmp_path / "o")]
    assert main(["units", "extract", str(tmp_path), str(table), *output]) == 2
    assert "must be a unit model" in capsys.readouterr().err
    (tmp_path / "t1.flac").unlink()
    assert main(["units", "learn", str(table), "--num-units", "4", *output]) == 2
    assert "line 3" in (error := capsys.readouterr().err) and "t1.flac" in error
    assert not (tmp_path / "o").exists()


def test_a_recording_that_cannot_be_read_is_left_out_and_the_next_is_not(
    table: Path, tmp_path: Path, capsys: Capture
) -> None:
    units, ids = str(tmp_path / "units"), tmp_path / "new" / "u.tsv"
    assert main(["units", "learn", str(table), "--num-units", "4", "--output", units]) == 0
    extract = ["units", "extract", units, str(table), "--output", str(ids)]
    assert main(extract) == 0
    whole = ids.read_text().splitlines()
    capsys.readouterr()
    (tmp_path / "t0.flac").write_text("no sound")
    assert main(extract) == 1
    assert "line 2: `tgt_audio`: " in (error := capsys.readouterr().err)
    assert "It looks like a text file: give a recording. It is left out." in error
    assert ids.read_text().splitlines() == [whole[0], *whole[2:]]
    for path in tmp_path.glob("t*.flac"):
        sf.write(path, np.zeros(319), 16_000)
    assert main(extract) == 1
    assert capsys.readouterr().err.count("must have at least 20 ms, a unit") == 3
    assert ids.read_text().splitlines() == [whole[0], *whole[2:]]  # as it was


def test_the_table_that_is_read_is_not_replaced(
    table: Path, tmp_path: Path, capsys: Capture
) -> None:
    units, before = str(tmp_path / "units"), table.read_bytes()
    assert main(["units", "learn", str(table), "--num-units", "4", "--output", units]) == 0
    for output, what in ((table, "the table that is read"), (tmp_path, "a folder")):
        assert main(["units", "extract", units, str(table), "--output", str(output)]) == 2
        expected = f"`--output` must be a new table, but {output} is {what}"
        assert expected in capsys.readouterr().err
    assert table.read_bytes() == before


@pytest.mark.parametrize("action", ["learn", "resynth", "speak"])
def test_a_file_where_a_folder_is_written_is_named(
    table: Path, vocoder: Path, speaking: Path, tmp_path: Path, capsys: Capture, action: str
) -> None:
    (out := tmp_path / "out").write_text("mine")
    (texts := tmp_path / "texts.txt").write_text("the cat\n")
    (ids := tmp_path / "u.tsv").write_text("id\ttgt_audio\na\t1\n")
    words = {
        "learn": [table, "--num-units", "4"],
        "resynth": [vocoder, ids],
        "speak": [speaking, texts],
    }[action]
    assert main(["units", action, *map(str, words), "--output", str(out)]) == 2
    assert f"{out}: Not a directory" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_each_line_of_a_text_file_is_spoken_under_its_number(
    speaking: Path, tmp_path: Path
) -> None:
    """Also those after a blank one, and whatever ends a line elsewhere."""
    (texts := tmp_path / "texts.txt").write_bytes("\ufeffthe cat\r\n\r\na\x0cdog\n\n".encode())
    out = tmp_path / "out"
    assert main(["units", "speak", str(speaking), str(texts), "--output", str(out)]) == 0
    sizes = {path.name: sf.info(path).frames for path in out.iterdir()}
    assert sizes.keys() == {"0.wav", "1.wav", "2.wav"}
    assert sizes["1.wav"] == 0 < min(sizes["0.wav"], sizes["2.wav"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"the cat\ncaf\xe9\n", "line 2: it is not UTF-8 (byte 0xe9 at 4)"),
        (b"the \0 cat\n", "line 1: it holds NUL"),
        ("the cat\n".encode("utf-16"), "must be UTF-8, but looks like UTF-16"),
    ],
)
def test_a_text_file_that_is_none_is_named(
    speaking: Path, tmp_path: Path, capsys: Capture, content: bytes, message: str
) -> None:
    (texts := tmp_path / "texts.txt").write_bytes(content)
    command = ["units", "speak", str(speaking), str(texts), "--output", str(tmp_path / "out")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert (message in said, str(texts) in said) == (True, True)
    assert not (tmp_path / "out").exists()


def test_on_a_full_disk_the_file_is_named_and_nothing_is_left_of_it(
    vocoder: Path, tmp_path: Path, capsys: Capture
) -> None:
    (ids := tmp_path / "u.tsv").write_text(f"id\ttgt_audio\na\t1\nb\t{'1 2 ' * 50}\n")
    out = tmp_path / "out"
    with full_disk(5000):
        assert main(["units", "resynth", str(vocoder), str(ids), "--output", str(out)]) == 2
    assert f"{out / 'b.wav'}: cannot be written (" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("flags", [["--max-utterances", "0"], ["--seed", "-1"]])
def test_impossible_flags_are_refused(
    table: Path, tmp_path: Path, capsys: Capture, flags: list[str]
) -> None:
    assert main(["units", "learn", str(table), "--output", str(tmp_path / "o"), *flags]) == 2
    assert f"`{flags[0]}` must be at least" in capsys.readouterr().err


def test_a_kind_in_the_yaml_selects_what_is_trained(
    table: Path, tmp_path: Path, capsys: Capture
) -> None:
    units = tmp_path / "units"
    assert main(["units", "learn", str(table), "--num-units", "5", "--output", str(units)]) == 0
    values = {
        "kind": "vocoder",
        "output": str(tmp_path / "run"),
        "steps": 1,
        "data": {
            "units": str(units),
            "train_tsv": str(table),
            "segment_units": 8,
            "context_units": 2,
            "batch_size": 1,
        },
        "network": {
            **{"num_units": 5, "dim": 8, "ffn_dim": 8, "num_layers": 1, "kernel_size": 3},
            **{"num_bands": 6, "num_harmonics": 5},
        },
    }
    path = tmp_path / "vocoder.yaml"
    path.write_text(yaml.safe_dump(values))
    assert main(["train", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "run" / "model")
    path.write_text(yaml.safe_dump({**values, "kind": "singer"}))
    assert main(["train", str(path)]) == 2
    assert "`kind` must be one of vocoder" in capsys.readouterr().err
