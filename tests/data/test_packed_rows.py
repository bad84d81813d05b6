"""Rows are held in little memory, and are those that were read, in any order of access."""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import tracemalloc
from pathlib import Path

import pytest
from tiny_corpora import write_text, write_tone
from words import word_example_maker

from echostream.data.packed_rows import _BLOCK
from echostream.data.table import read_tsv
from echostream.data.table_row import Row
from echostream.frontend.audio_segment import Segment
from echostream.training.batch import DatasetPosition
from echostream.training.dataset import BatchDataset
from echostream.training.sources import TableSpeech

BYTES_PER_ROW = 250  # with texts that do not compress; as Python objects it was 650
HEADER = "id\tsrc_audio\ttgt_text\tsrc_text\toffset\tduration\tword_ends\tspeaker\tweight\tmore"


@pytest.mark.parametrize("count", [1, _BLOCK - 1, _BLOCK, _BLOCK + 1, 3 * _BLOCK + 2])
def test_a_row_is_what_its_line_says(count: int, tmp_path: Path) -> None:
    lines = [
        f'u{n}\ta.wav\tl\'eau \\"{n}\\"\t\t{n}\t2\t0.5 1\tanna\t{n % 3}\tx' for n in range(count)
    ]
    path = write_text(tmp_path / "x.tsv", HEADER, "", *lines)
    table = read_tsv(path)
    wanted = [
        Row(
            n + 3, f"u{n}", "a.wav", None, f"l'eau \"{n}\"", Segment(n, 2) if n else Segment(0, 2),
            2.0, (0.5, 1.0), "anna", "", n % 3,
        )
        for n in range(count)
    ]  # fmt: skip
    path.unlink()  # nothing is read from it again
    assert list(table.rows) == wanted
    assert [table.rows[-n] for n in range(1, count + 1)] == wanted[::-1]
    assert table.rows[1::7] == wanted[1::7]
    assert table.weights.tolist() == [row.weight for row in wanted]
    assert list(pickle.loads(pickle.dumps(table)).rows) == wanted
    with pytest.raises(IndexError):
        table.rows[count]


def resident() -> int:
    """Bytes of memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        pytest.skip("the system does not say how much memory a process has")
    gc.collect()
    return pages * os.sysconf("SC_PAGE_SIZE")


def many_rows(folder: Path, count: int) -> Path:
    """A table of short utterances that all name one recording; their texts hardly compress."""
    write_tone(folder / "a.wav", 0.1)
    texts = (hashlib.sha256(str(n).encode()).hexdigest() for n in range(count))
    lines = (f"common_voice_fr_{n:08d}\ta.wav\t{t}\t{t[::-1]}\t1.5" for n, t in enumerate(texts))
    path = folder / f"{count}.tsv"
    return write_text(path, "id\tsrc_audio\tsrc_text\ttgt_text\tweight", *lines)


def test_a_hundred_thousand_rows_take_little_memory_and_batches_of_them_none(
    tmp_path: Path,
) -> None:
    TableSpeech(many_rows(tmp_path, 1000), 1)  # what is there once
    path = many_rows(tmp_path, 100_000)
    before = resident()
    speech = TableSpeech(path, 1)
    speech.pair(0)  # makes the order of a pass
    assert (resident() - before) / 100_000 < BYTES_PER_ROW
    make = word_example_maker(["un", "deux"], tmp_path)
    batches = iter(BatchDataset(speech, make, 64, 1, 1.0, 1, [DatasetPosition(0, 0)]))
    held = []
    tracemalloc.start()
    try:
        for _ in range(3):
            for _ in range(40):
                num_rows = len(next(batches).frames)
                assert num_rows > 1
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[2] - held[1] < 40_000
