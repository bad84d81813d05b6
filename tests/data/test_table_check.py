"""`echostream data check` names each row that cannot be used and goes on; a run counts them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_corpora import write_text, write_tone
from tiny_training import tiny_run, write_table
from words import word_example_maker

from echostream.cli import main
from echostream.config import ConfigError
from echostream.data.lengths import is_long_enough, num_frames
from echostream.training.sources import TableSpeech
from echostream.training.start_check import check_lengths
from echostream.training.train import train

Captured = pytest.CaptureFixture[str]
HEADER = "id\tsrc_audio\toffset\tduration\tsrc_text\ttgt_text"


def table_of(folder: Path, *rows: str) -> Path:
    write_tone(folder / "a.wav", 1.0)
    return write_text(folder / "x.tsv", HEADER, *rows)


ROWS = {
    "good\ta.wav\t\t1.0\tun\tone": "",
    "part\ta.wav\t0.25\t0.5\tun\t": "",
    "gone\tnone.wav\t\t\tun\tone": "a recording that is missing: ",
    "text\tx.tsv\t\t\tun\tone": "a recording that cannot be read: ",
    "long\ta.wav\t0.5\t0.7\tun\tone": "a segment beyond the end of its recording: 0.5 to 1.2 s",
    "late\ta.wav\t1.5\t0.5\tun\tone": "a segment beyond the end of its recording: ",
    "less\ta.wav\t\t1.5\tun\tone": "a recording shorter than declared: 1.500 s by the table, 1.000",
    "fast\ta.wav\t\t\t" + 41 * "u" + "\tone": "more than 40 characters a second: 41 characters",
    "tiny\ta.wav\t0.5\t0.05\tu\t": "shorter than 0.1 s: 0.050 s",
    "none\ta.wav\t\t\t\t": "`src_text` and `tgt_text` are both empty",
    "good\ta.wav\t\t\tun\tone": "the id `good` comes twice, first in line 2",
    "cut\ta.wav": "6 fields are needed, but it has 2",
}


def test_each_bad_row_is_named_with_its_reason_and_the_kinds_are_counted(
    tmp_path: Path, capsys: Captured
) -> None:
    path = table_of(tmp_path, *ROWS)
    assert main(["data", "check", str(path), "--jobs", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    expected = {number: text for number, text in enumerate(ROWS.values(), start=2) if text}
    for line, (number, text) in zip(lines, expected.items(), strict=False):
        assert line.startswith(f"{path}, line {number}") and text in line
    counts = lines[len(expected) :]
    assert "3 of 12 rows: a line that cannot be read" in counts
    assert "2 of 12 rows: a segment beyond the end of its recording" in counts
    assert sum(int(line.split()[0]) for line in counts) == len(expected)


def test_a_table_without_fault_is_said_to_be_so(tmp_path: Path, capsys: Captured) -> None:
    path = table_of(tmp_path, *[row for row, fault in ROWS.items() if not fault])
    assert main(["data", "check", str(path), "--jobs", "1"]) == 0
    assert capsys.readouterr().out == f"{path}: 2 rows, no fault\n"


@pytest.mark.parametrize("tail_ms", [0, 480])
def test_a_row_with_fewer_encoder_frames_than_its_pieces_need_is_named(
    tail_ms: int, tmp_path: Path, capsys: Captured
) -> None:
    word_example_maker(["un", "deux"], tmp_path)
    most = round((1000 + tail_ms) / 80)  # pieces
    for extra in (0, 1):
        text = " ".join(["un"] * (most // 1 + extra))
        path = table_of(tmp_path, f"a\ta.wav\t\t\t{text}\t")
        flags = ["--source-spm", str(tmp_path / "spm.model"), "--tail-ms", str(tail_ms)]
        fits = is_long_enough(num_frames(1.0, tail_ms), most + extra)
        code = main(["data", "check", str(path), "--jobs", "1", "--max-rate", "99", *flags])
        assert code == (0 if fits else 1)
        assert ("too short for its `src_text`" in capsys.readouterr().out) == (not fits)


@pytest.mark.parametrize("num_pieces", [0, 1, 2, 7])
def test_two_encoder_frames_for_each_piece_are_enough(num_pieces: int) -> None:
    least = 8 * max(num_pieces, 1)  # fbank frames, four for each encoder frame
    assert is_long_enough(least, num_pieces) and not is_long_enough(least - 1, num_pieces)


def broken(path: Path, rows: int) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1 : 1 + rows] = ["cut\toff"] * rows
    write_text(path, *lines)


@pytest.mark.parametrize(("rows", "refused"), [(1, False), (2, False), (3, True)])
def test_a_run_is_refused_when_too_many_rows_are_lost(
    rows: int, refused: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_table(tmp_path / "x.tsv", range(10))
    broken(path, rows)
    if refused:
        with pytest.raises(ConfigError, match=r"3 of 10 rows .*\(3 lines, 0 recordings\).*0\.2"):
            TableSpeech(path, 1, max_lost=0.2)
        return
    assert len(TableSpeech(path, 1, max_lost=0.2)) == 10 - rows
    (message,) = caplog.messages
    assert f"{rows} of 10 rows cannot be used ({rows} lines, 0 recordings)" in message


@pytest.mark.parametrize(("share", "refused"), [(0.4, False), (0.2, True)])
def test_utterances_too_short_for_their_text_are_counted_before_the_first_step(
    share: float, refused: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A quarter of a corpus was left out of each pass, and only the log of the blocks said so."""
    rows = [f"u{number}\ta.wav\t\t1.0\tun\tone" for number in range(7)]
    rows += [f"v{number}\ta.wav\t\t1.0\t{' '.join(13 * ['un'])}\tone" for number in range(3)]
    speech = TableSpeech(table_of(tmp_path, *rows), 1)
    make = word_example_maker(["un", "one"], tmp_path)
    if refused:
        with pytest.raises(ConfigError, match=r"3 of 10 utterances .* too short .* first: v0"):
            check_lengths(speech, make, share)
        return
    check_lengths(speech, make, share)
    assert "3 of 10 utterances" in caplog.text


def test_rows_of_both_texts_and_of_one_train_together_and_the_model_names_their_normalisation(
    tmp_path: Path,
) -> None:
    config = dataclasses.replace(tiny_run(tmp_path), steps=2, checkpoint_steps=2)
    columns: list[Callable[[list[str]], None]] = [
        lambda fields: fields.__setitem__(3, ""),
        lambda fields: fields.__setitem__(4, ""),
    ]
    for name, kinds in (("train.tsv", (1, 2)), ("dev.tsv", (1, 2))):
        path = tmp_path / name
        lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        for number, change in zip(kinds, columns, strict=True):
            change(lines[number])
        write_text(path, *("\t".join(fields) for fields in lines))
    write_text(tmp_path / "text.yaml", "case: lower")
    model = train(config)
    assert "case: lower" in (model / "text.yaml").read_text()
    assert "case: lower, punctuation: keep" in (model / "README.md").read_text()


def test_tables_of_two_normalisations_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = tiny_run(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    write_text(tmp_path / "text.yaml", "case: lower")
    write_text(other / "text.yaml", "case: keep")
    table = str(write_table(other / "dev.tsv", range(2)))
    tables = (*(config.data.train_tsv or ()), table)
    for changes in ({"dev_tsv": table}, {"train_tsv": tables}):
        data = dataclasses.replace(config.data, **changes)
        with pytest.raises(ConfigError, match="must have texts of one normalisation"):
            train(dataclasses.replace(config, data=data))
    assert not Path(config.output).exists()
