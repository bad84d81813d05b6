"""Files around a sweep: lists as other programs write them, damaged logs, folders that vanish."""

from __future__ import annotations

import codecs
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_sweep import Corpus

from echostream.evaluation.point import Point, Setup, read_marker, write_marker
from echostream.evaluation.provenance import ROOT
from echostream.evaluation.shards import Shard, part_from, read_progress, write_part
from echostream.evaluation.test_set import read_test_set
from echostream.scoring.log import INSTANCES_LOG, ScoringError, parse_complete_utterance
from echostream.scoring.simuleval_scores import compare_with_simuleval, score

Capture = pytest.CaptureFixture[str]
POINT = ("--max-future-frames", 0, "--segment-sizes", 500)


LISTS: dict[str, Callable[[bytes], bytes]] = {
    "line ends of Windows": lambda data: data.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda data: codecs.BOM_UTF8 + data,
    "blank lines at the end": lambda data: data + b"\n  \n",
    "no line end": lambda data: data.rstrip(b"\n"),
}


@pytest.mark.parametrize("change", LISTS.values(), ids=LISTS)
def test_lists_as_other_programs_write_them_are_the_same_lists(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    corpus = Corpus(tmp_path)
    for path in (corpus.source, corpus.target):
        path.write_bytes(change(path.read_bytes()))
    assert corpus.sweep(*POINT) == 0
    assert float(corpus.rows()[0]["BLEU"]) == 100
    log = (corpus.output / "L0_seg500_n1" / INSTANCES_LOG).read_text().splitlines()
    assert [json.loads(line)["reference"].split()[0] for line in log] == ["one"] * 4


def test_lists_are_utf8_whatever_the_locale_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "POSIX")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    monkeypatch.setenv("PYTHONUTF8", "0")
    corpus = Corpus(tmp_path)
    corpus.target.write_text(corpus.target.read_text().replace("one", "öné"), encoding="utf-8")
    assert corpus.sweep(*POINT) == 0
    log = (corpus.output / "L0_seg500_n1" / INSTANCES_LOG).read_text(encoding="utf-8").splitlines()
    assert json.loads(log[0])["reference"].split()[0] == "öné"


@pytest.mark.parametrize("change", [{"prediction": None}, {"delays": "1"}, {"index": True}, None])
def test_a_line_of_a_shard_with_a_wrong_field_is_evaluated_again(
    tmp_path: Path, change: dict[str, object] | None
) -> None:
    corpus = Corpus(tmp_path)
    setup = Setup(
        corpus.agent, corpus.model, read_test_set(corpus.source, corpus.target), corpus.output
    )
    point, shard = Point(0, 500, 1), Shard(0, 1, 0, 4)
    part = part_from(setup, point, shard, 0)
    part.output.mkdir(parents=True)
    write_part(part.output, {"command": setup.command(point, part), "inputs": {}})
    good = {
        "prediction": "a",
        "delays": [1.0],
        "elapsed": [1.0],
        "reference": "a",
        "source_length": 2.0,
    }
    lines = [json.dumps({"index": index, **good}) for index in range(3)]
    lines[1] = "[" * 100_000 if change is None else json.dumps({"index": 1, **good, **change})
    (part.output / INSTANCES_LOG).write_text("\n".join(lines) + "\n")
    progress = read_progress(setup, point, shard, {})
    assert len(progress.lines) == 1
    assert "line 2 is cut or damaged (" in progress.cut[0]


def test_a_damaged_marker_or_score_table_is_no_finished_point(tmp_path: Path) -> None:
    (tmp_path / INSTANCES_LOG).touch()
    write_marker(tmp_path, command=["a"], inputs={})
    assert read_marker(tmp_path, ["a"], {}) is not None
    for content in ("[" * 100_000, "null", "[]", '{"command": ["a"]}', ""):
        (tmp_path / "point.json").write_text(content)
        assert read_marker(tmp_path, ["a"], {}) is None
    (tmp_path / "scores.tsv").write_text("BLEU\n" + "1" * 200_000 + "\n")
    line = {"index": 0, "prediction": "a", "delays": [1], "elapsed": [1]}
    logged = json.dumps({**line, "reference": "a", "source_length": 2}).encode()
    utterance = parse_complete_utterance(logged, "word")
    with pytest.raises(ScoringError, match=r"scores.tsv: is not a score table"):
        compare_with_simuleval(score([utterance]), tmp_path / "scores.tsv")


def test_a_dollar_in_the_name_of_a_model_is_no_formula(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    corpus.model = corpus.model.rename(tmp_path / "a$b_{$c")
    assert corpus.sweep(*POINT) == 0
    assert "a$b_{$c" in (corpus.output / "curve.svg").read_text()


def test_the_table_is_printed_where_results_cannot_be_written(
    tmp_path: Path, capsys: Capture
) -> None:
    corpus = Corpus(tmp_path)
    (corpus.output / "results.json").mkdir(parents=True)
    assert corpus.sweep(*POINT) == 1
    captured = capsys.readouterr()
    assert "BLEU" in captured.out and "100.00" in captured.out
    assert captured.err.startswith("echostream curve: ") and "results.json" in captured.err
    assert captured.err.count("\n") == 1


def test_an_output_folder_that_is_deleted_during_a_run_is_named(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    trap = tmp_path / "trap"
    trap.write_text("2")
    words = corpus.words(*POINT, "--", "--trap", trap, "--deadly")
    sweep = subprocess.Popen(
        [sys.executable, "eval/latency_curve.py", *words], cwd=ROOT, stderr=subprocess.PIPE
    )
    with sweep:
        while not (corpus.output / "L0_seg500_n1" / "run.log").exists():
            assert sweep.poll() is None
            time.sleep(0.01)
        shutil.rmtree(corpus.output)
        assert sweep.stderr is not None
        error = sweep.stderr.read().decode()
    assert sweep.returncode == 1
    assert "Traceback" not in error
    assert "L0_seg500_n1 failed" in error and "its log cannot be read" in error
