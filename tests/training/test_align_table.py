"""The column of word times in a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from tiny_model import SAMPLE_RATE, babble, make_model_folder

from echostream.cli import main
from echostream.data.table import read_tsv
from echostream.model_folder import load_model
from echostream.training.word_times import word_ends

HEADER = "id\tsrc_audio\tsrc_text\ttgt_text"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    sf.write(tmp_path / "a.wav", babble(3, seed=1), SAMPLE_RATE)
    sf.write(tmp_path / "b.wav", np.zeros(200, np.float32), SAMPLE_RATE)
    short = "four\tb.wav\t" + "ba " * 20 + "\tx"
    rows = ["one\ta.wav\tba ba\tx", "two\tnone.wav\tba\tx", "three\ta.wav\t\tx", "", short]
    (tmp_path / "t.tsv").write_text("\n".join([HEADER, *rows, ""]))
    return tmp_path / "t.tsv"


def test_rows_get_the_times_of_their_words_and_keep_everything_else(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_model_folder(tmp_path / "model")
    output = tmp_path / "aligned.tsv"
    assert main(["data", "align", str(folder), str(table), "--output", str(output)]) == 0
    assert "1 of 4 rows have word times" in capsys.readouterr().out
    before, after = table.read_text().split("\n"), output.read_text().split("\n")
    assert [line.rpartition("\t")[0] for line in after if line] == [line for line in before if line]
    found = read_tsv(output)
    (wanted,) = word_ends(load_model(folder), [found[0]])
    assert found[0].word_ends == pytest.approx(wanted, abs=0.005) and len(wanted) == 2
    again = tmp_path / "again.tsv"  # the column is replaced
    assert main(["data", "align", str(folder), str(output), "--output", str(again)]) == 0
    assert again.read_text() == output.read_text()


def test_a_table_in_another_folder_is_refused(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_model_folder(tmp_path / "model")
    output = tmp_path / "model" / "aligned.tsv"
    assert main(["data", "align", str(folder), str(table), "--output", str(output)]) == 2
    assert f"{output}: must be in the folder of {table}" in capsys.readouterr().err
