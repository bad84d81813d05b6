"""Every command of docs/data.md runs, on made-up corpora that lie where the page says."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import ROOT, blocks, commands
from tiny_corpora import WRITERS
from tiny_model import make_model_folder

from echostream.cli import main
from echostream.data.table import read_tsv

PAGE = ROOT / "docs" / "data.md"
# Where the page has each corpus.
PLACES = {
    "cvss": "corpora",
    "covost2": "corpora/covost2",
    "mustc": "corpora/must-c",
    "librispeech": "corpora/LibriSpeech",
    "tsv": "corpora/tables",
}
PREPARE = [words for words in commands(PAGE) if words[1:3] == ["data", "prepare"]]


def test_every_layout_has_a_command() -> None:
    assert sorted(words[3] for words in PREPARE) == sorted(WRITERS)


@pytest.mark.parametrize("words", PREPARE, ids=[words[3] for words in PREPARE])
def test_a_command_prepares_the_corpus_where_the_page_has_it(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layout = words[3]
    written = WRITERS[layout](Path(PLACES.get(layout, f"corpora/{layout}")))
    tiny = ["--held-out", "1"] if layout == "mboshi" else []  # of five
    assert words[4] == written[1]
    assert main([*words[1:], *tiny, "--jobs", "1"]) == 0
    output = Path(words[words.index("--output") + 1])
    table = "test.tsv" if layout == "asterisk" else "train.tsv"
    assert (output / table).is_file() and (output / "report.md").is_file()
    if layout == "mboshi":
        (check,) = (words for words in commands(PAGE) if words[1:3] == ["data", "check"])
        assert main([*check[1:], "--jobs", "1"]) == 0


def test_the_command_for_shards_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shard,) = (words for words in commands(PAGE) if words[1:3] == ["data", "shard"])
    monkeypatch.chdir(tmp_path)
    prepare_mboshi()
    assert main([*shard[1:], "--jobs", "1"]) == 0
    table = Path(shard[shard.index("--output") + 1], Path(shard[3]).name)
    assert len(read_tsv(table)) == len(read_tsv(shard[3]))


def prepare_mboshi() -> None:
    """The corpus where the page has it, with the one command that prepares it."""
    WRITERS["mboshi"](Path("corpora/mboshi"))
    (prepare,) = (words for words in PREPARE if words[3] == "mboshi")
    assert main([*prepare[1:], "--held-out", "1", "--jobs", "1"]) == 0


def test_the_command_for_word_times_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (align,) = (words for words in commands(PAGE) if words[1:3] == ["data", "align"])
    monkeypatch.chdir(tmp_path)
    prepare_mboshi()
    make_model_folder(Path(align[3]))
    assert main(align[1:]) == 0
    assert "word_ends" in Path(align[-1]).read_text(encoding="utf-8").split("\n")[0]


def test_the_snippet_of_the_page_runs() -> None:
    (block,) = blocks(PAGE, "python")
    exec(compile(block, PAGE.name, "exec"), {})
