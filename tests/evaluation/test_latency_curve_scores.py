"""What the sweep's scores are counted in: the flags of SimulEval after `--`, and odd texts."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path

import pytest
import sentencepiece
from tiny_sweep import AGENT, Corpus, assert_same

from echostream.scoring.metrics.latency import LATENCY_METRICS

Capture = pytest.CaptureFixture[str]
POINT = ("--max-future-frames", 1, "--segment-sizes", 500)
KANJI = "一二三四五六七八九十"


class Unspaced(Corpus):
    """The same recordings with an agent and references of a language without spaces."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        agent = AGENT.format(numbers=list(KANJI))
        for spaced, unspaced in (('" ".join(', '"".join('), ("len(text.split())", "len(text)")):
            assert spaced in agent
            agent = agent.replace(spaced, unspaced)
        self.agent.write_text(agent)
        self.target.write_text("".join(f"{KANJI[:n]}\n" for n in self.half_seconds))


def equal_to_simuleval(corpus: Corpus, but: tuple[str, ...] = ()) -> dict[str, str]:
    """The only row of a sweep, whose columns must be those that SimulEval wrote for the point."""
    (row,) = corpus.rows()
    (name,) = [point["name"] for point in corpus.results()["points"]]
    with open(corpus.output / name / "scores.tsv", newline="") as file:
        theirs = next(csv.DictReader(file, delimiter="\t"))
    for column in {"BLEU", *LATENCY_METRICS} - set(but):
        assert float(row[column]) == pytest.approx(float(theirs[column]), abs=1.1e-3), column
    return row


@pytest.mark.parametrize(
    "flags", [("--sacrebleu-tokenizer", "char"), ("--sacrebleu-tokenizer=zh",)]
)
def test_the_tokenizer_of_simuleval_is_that_of_the_table(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    corpus = Corpus(tmp_path)
    assert corpus.sweep(*POINT, "--", *flags) == 0
    row = equal_to_simuleval(corpus)
    tokenizer = flags[-1].rpartition("=")[2]
    assert f"tok:{tokenizer}" in corpus.results()["signatures"]["BLEU"]
    assert float(row["BLEU_lo"]) <= float(row["BLEU"]) <= float(row["BLEU_hi"])


def test_a_language_without_spaces_is_counted_by_character(tmp_path: Path, capsys: Capture) -> None:
    """L = 1 writes the first number twice: by character a good run, by word one of BLEU 0."""
    corpus = Unspaced(tmp_path)
    assert corpus.sweep(*POINT, "--", "--eval-latency-unit", "char") == 0
    captured = capsys.readouterr().out
    assert "BLEU by char, latency by char" in captured and "tok:char" in captured
    row = equal_to_simuleval(corpus)
    assert 50 < float(row["BLEU"]) < 100
    assert 0 < float(row["AL"]) < 2000
    assert corpus.results()["latency_unit"] == "char"

    sharded = corpus.elsewhere()
    words = (*POINT, "--shards", 2, "--", "--eval-latency-unit=char")
    assert sharded.sweep(*words) == 0
    assert_same(sharded, corpus)

    other = corpus.elsewhere()
    other.output = tmp_path / "by-13a"
    words = (*POINT, "--", "--eval-latency-unit", "char", "--sacrebleu-tokenizer", "13a")
    assert other.sweep(*words) == 0
    assert float(equal_to_simuleval(other)["BLEU"]) == 0


def test_pieces_and_the_length_of_the_output_are_counted_as_simuleval_does(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    assert corpus.sweep(*POINT, "--", "--no-use-ref-len") == 0
    equal_to_simuleval(corpus)
    model = tmp_path / "pieces.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus.target.read_text().splitlines()),
        model_prefix=str(model.with_suffix("")),
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    corpus.output = tmp_path / "pieces"
    flags = ("--eval-latency-unit", "spm", "--eval-latency-spm-model", model)
    assert corpus.sweep(*POINT, "--", *flags) == 0
    equal_to_simuleval(corpus)


def test_a_decomposed_target_list_is_compared_in_its_composed_form(
    tmp_path: Path, capsys: Capture
) -> None:
    corpus = Corpus(tmp_path)
    corpus.agent.write_text(corpus.agent.read_text().replace("'one'", "'ön\xe9'"))
    target = corpus.target.read_text().replace("one", "ön\xe9")
    corpus.target.write_text(unicodedata.normalize("NFD", target))
    assert corpus.sweep("--max-future-frames", 0, "--segment-sizes", 500) == 0
    row = equal_to_simuleval(corpus, but=("BLEU",))
    assert float(row["BLEU"]) == float(row["BLEU_hi"]) == 100
    assert "4 predictions or references of a point are not in Unicode's" in capsys.readouterr().out


REFUSED = {
    "a metric": (("--quality-metrics", "BLEU"), "`--quality-metrics` must not be given after `--`"),
    "no scoring": (("--no-scoring",), "`--no-scoring` must not be given"),
    "a part": (("--start-index=2",), "`--start-index` must not be given"),
    "a short name": (
        ("--eval-latency-u", "char"),
        "`--eval-latency-u` must be written in full after `--`: --eval-latency-unit.",
    ),
    "a unit": (("--eval-latency-unit", "line"), "invalid choice: 'line'"),
    "a tokenizer": (("--sacrebleu-tokenizer", "moses"), "must be one of none, zh, 13a"),
    "no model": (("--eval-latency-unit", "spm"), "must stand together after `--`."),
    "not a model": (
        ("--eval-latency-unit", "spm", "--eval-latency-spm-model", __file__),
        "is not a SentencePiece model",
    ),
    "one file for all": (
        ("--extra-output-dir", "extra"),
        "of more than one run, but there are 6: all would write into the same files.",
    ),
}


@pytest.mark.parametrize(("flags", "message"), REFUSED.values(), ids=REFUSED)
def test_flags_that_leave_nothing_to_score_are_refused_before_anything_is_started(
    tmp_path: Path, capsys: Capture, flags: tuple[str, ...], message: str
) -> None:
    corpus = Corpus(tmp_path)
    assert corpus.sweep("--", *flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not corpus.output.exists()
