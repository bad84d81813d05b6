"""Tables of recordings: every field is read as it is, and errors name the line."""

from __future__ import annotations

import logging
import os
import random
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from echostream.data.table import COLUMNS, Table, TableError, read_tsv
from echostream.frontend.audio import AudioError

HEADER = "\t".join(COLUMNS)


def row(name: str, source: str = "un", target: str = "one", audio: str = "a.flac") -> str:
    return f"{name}\t{audio}\t1\t{source}\t{target}\t\t0"


def written(folder: Path, *lines: str, encoding: str = "utf-8", end: str = "\n") -> Path:
    path = folder / "x.tsv"
    path.write_bytes("".join(line + end for line in (HEADER, *lines)).encode(encoding))
    return path


def texts(table: Table) -> list[tuple[str | None, str | None]]:
    return [table.texts(index) for index in range(len(table))]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_line_ends_and_a_byte_order_mark_do_not_matter(
    end: str, encoding: str, tmp_path: Path
) -> None:
    path = written(tmp_path, row("a", "été"), row("b", "deux"), encoding=encoding, end=end)
    assert texts(read_tsv(path)) == [("été", "one"), ("deux", "one")]


@pytest.mark.parametrize("blank", ["", "  ", "\t\t\t\t\t\t"])
def test_blank_lines_are_passed_over_and_counted_where_they_stand(
    blank: str, tmp_path: Path
) -> None:
    path = written(tmp_path, row("a"), blank, row("b"), blank, blank)
    assert len(read_tsv(path)) == 2
    path = written(tmp_path, row("a"), blank, "cut\tline")
    with pytest.raises(TableError, match="line 4: 7 fields are needed, but it has 2"):
        read_tsv(path)


def test_a_text_may_be_longer_than_a_field_of_csv(tmp_path: Path) -> None:
    long = "mot " * 50_000 + "fin"
    assert texts(read_tsv(written(tmp_path, row("a", long))))[0][0] == long


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    path = written(tmp_path, row("a"))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert len(read_tsv(path)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}\n{row('a', 'été')}\n".encode("latin-1"), r"line 2: it is not UTF-8 .*0xe9"),
        (f"{HEADER}\n{row('a')}\n".encode("utf-16"), "looks like UTF-16"),
        (f"{HEADER}\n{row('a')}\n".encode("utf-16-le"), "line 1: it holds NUL"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "line 1: it is not UTF-8|holds NUL"),
        (b"a.mp3\tun texte\n", r"`id` is missing; found \['a.mp3', 'un texte'\].*first line"),
        (b"id,src_audio,src_text,tgt_text\na,b,c,d\n", "`id` is missing; .*separated by tabs"),
        (f"{HEADER}\tid\n".encode(), "the column `id` comes twice"),
        (f"{HEADER}\n{row('a')}\tmore\n".encode(), "line 2: 7 fields are needed, but it has 8"),
        (f"{HEADER}\n{row('a')}\n{row('b')}\n{row('a')}\n".encode(), "line 4.*first in line 2"),
        (f"{HEADER}\n{row('a', ' ', ' ')}\n".encode(), "line 2: .* are both empty"),
        (f"{HEADER}\n\n\n".encode(), "a header but no lines"),
        (b"\n\n", "the table is empty"),
        (f"{HEADER}\toffset\n{row('a')}\t-1.5\n".encode(), "line 2: `offset` must be .*'-1.5'"),
        (b"x" * (1 << 24) + b"xx", "line 1: it is longer than 16 MiB"),
        (b"\t" * (1 << 20), "the table is empty"),
        (b"x\t" * (1 << 20), "`id` is missing"),
    ],
    ids=range(16),
)  # fmt: skip
def test_a_table_that_cannot_be_read_names_the_line_and_the_reason(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.tsv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=message) as caught:
        read_tsv(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 800


def test_quotation_marks_that_fairseq_escaped_are_read_as_they_were(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    r"""Its tables are written with QUOTE_NONE and the escape character `\`."""
    path = written(tmp_path, row("a", r"il dit \"oui\""), row("b", r"a\\b"), row("c", r"c:\d"))
    assert [source for source, _ in texts(read_tsv(path))] == ['il dit "oui"', r"a\b", r"c:\d"]
    assert "2 texts hold" in caplog.text and "first: line 2" in caplog.text


def test_texts_that_look_quoted_as_in_csv_are_kept_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sources = ['"il dit ""oui"""', '"oui"', '"oui" et "non"', '"', '""']
    path = written(tmp_path, *(row(str(n), text) for n, text in enumerate(sources)))
    assert [source for source, _ in texts(read_tsv(path))] == sources
    assert "1 texts look quoted as in CSV" in caplog.text


def test_decomposed_texts_are_composed_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    decomposed = unicodedata.normalize("NFD", "été à la forêt")
    path = written(tmp_path, row("a"), row("b", decomposed, decomposed))
    assert texts(read_tsv(path))[1] == ("été à la forêt",) * 2
    assert "2 texts were not in composed Unicode (NFC)" in caplog.text


def test_a_plain_table_is_read_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_tsv(written(tmp_path, row("a", "½ … l'été", '« "oui » dit-il')))
    assert caplog.text == ""


def test_a_recording_that_is_missing_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path, row("a"), row("b", audio="/none/b.flac"), row("c", audio="x" * 5000),
        row("d", audio="f.zip:1:2"),
    )  # fmt: skip
    sf.write(tmp_path / "a.flac", np.zeros(1600), 16_000)
    table = read_tsv(path)
    faults = table.missing()
    assert [fault.partition(": ")[0] for fault in faults] == [
        f"{path}, line {n}" for n in (3, 4, 5)
    ]
    assert "/none/b.flac" in faults[0] and "part of a zip" in faults[2]
    for index, line in ((1, 3), (2, 4), (3, 5)):
        with pytest.raises(AudioError, match=f"line {line}: "):
            table[index]


def test_a_pipe_as_table_or_recording_is_refused_without_waiting(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TableError, match="pipe must be a file, but is a folder, a pipe"):
        read_tsv(tmp_path / "pipe")
    with pytest.raises(TableError, match="must be a file"):
        read_tsv(tmp_path)
    table = read_tsv(written(tmp_path, row("a", audio="pipe"), row("b", audio=".")))
    for index in (0, 1):
        with pytest.raises(AudioError, match=rf"line {index + 2}: .*it is not a file"):
            table[index]


def test_the_number_of_frames_in_a_table_does_not_matter(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.flac", np.zeros(1600), 16_000)
    path = written(tmp_path, row("a").replace("\t1\t", "\t-7 and more\t"))
    assert len(read_tsv(path)[0].samples) == 1600


def test_samples_that_are_not_numbers_are_silence_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = np.full(1600, 0.1, np.float32)
    samples[10:13] = np.nan, np.inf, -np.inf
    sf.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    table = read_tsv(written(tmp_path, row("a", audio="a.wav")))
    for item in (table[0], table[0]):
        assert np.isfinite(item.samples).all() and not item.samples[10:13].any()
    assert caplog.text.count("a.wav: 3 samples are NaN") == 1, "once, not at every read"


def test_whole_numbers_written_as_floats_are_refused(tmp_path: Path) -> None:
    samples = np.full(1600, 3000, np.float32)
    sf.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    table = read_tsv(written(tmp_path, row("a", audio="a.wav")))
    with pytest.raises(AudioError, match=r"line 2: .*a\.wav must have samples in \[-1, 1\].* 3000"):
        table[0]


def test_any_damage_to_a_table_is_named_or_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes changed, cut off, doubled or put in at random: nothing but the documented error."""
    caplog.set_level(logging.CRITICAL)
    lines = [row(str(n), 'l\'été "deux" \\"x\\"', "summer…") for n in range(6)]
    whole, rng = written(tmp_path, *lines).read_bytes(), random.Random(0)
    path, refused, end = tmp_path / "y.tsv", 0, time.monotonic() + 5
    for _ in range(800):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 4, 50))):
            offset, size = rng.randrange(len(data)), rng.choice((1, 2, 40))
            match rng.randrange(4):
                case 0:
                    del data[offset : offset + size]
                case 1:
                    data[offset:offset] = rng.choice(
                        (b"\t", b"\n", b"\r", b"\0", b'"', b"\xff", b"\\")
                    )
                case 2:
                    data[offset:offset] = data[offset : offset + size]
                case _:
                    data[offset : offset + 1] = rng.randbytes(1)
            data = data or bytearray(b"x")
        path.write_bytes(data)
        try:
            table = read_tsv(path)
            assert all(any(pair) and "" not in pair for pair in texts(table))
            table.missing()
        except TableError as error:
            assert str(path) in str(error)
            refused += 1
        if time.monotonic() > end:
            break
    assert refused
