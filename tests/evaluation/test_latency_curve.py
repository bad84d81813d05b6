"""The sweep, run for real: the `simuleval` command with a small agent that needs no network."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_model import babble, make_model_folder
from tiny_sweep import Corpus

from echostream.evaluation.columns import TEXT
from echostream.evaluation.curve import main
from echostream.evaluation.point import MARKER, Point, Setup, read_marker, write_marker
from echostream.evaluation.provenance import ROOT
from echostream.evaluation.report import build_rows, table
from echostream.evaluation.test_set import read_test_set
from echostream.scoring.metrics.latency import LATENCY_METRICS

HEADER = (
    "L segment_ms algorithmic_latency_ms BLEU BLEU_lo BLEU_hi chrF AL LAAL AP DAL "
    "AL_CA LAAL_CA AP_CA DAL_CA compute_rtf p_vs_L0 method p_vs_ctc"
)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """One sweep of two look-aheads, one segment size and the offline point, for several tests."""
    corpus = Corpus(tmp_path_factory.mktemp("swept"))
    words = ("--max-future-frames", 0, 1, "--segment-sizes", 500, "--offline")
    assert corpus.sweep(*words) == 0
    return corpus


def started(output: str) -> list[str]:
    """The points that were run, by name, from what the sweep printed."""
    return sorted(line.partition(":")[0] for line in output.splitlines() if ": started" in line)


def test_the_table_has_its_columns_and_a_row_for_each_point(swept: Corpus) -> None:
    assert (swept.output / "results.tsv").read_text().splitlines()[0] == "\t".join(HEADER.split())
    assert [(row["L"], row["segment_ms"]) for row in swept.rows()] == [
        *(("0", "500"), ("0", "offline")),
        *(("1", "500"), ("1", "offline")),
    ]
    assert [row["algorithmic_latency_ms"] for row in swept.rows()] == ["160", "160", "320", "320"]


def test_the_table_repeats_the_columns_of_simuleval(swept: Corpus) -> None:
    for row, entry in zip(swept.rows(), swept.results()["points"], strict=True):
        with open(swept.output / entry["name"] / "scores.tsv", newline="") as file:
            theirs = next(csv.DictReader(file, delimiter="\t"))
        for name in ("BLEU", *LATENCY_METRICS):
            assert float(row[name]) == pytest.approx(float(theirs[name]), abs=1.1e-3)


def test_the_scores_are_those_of_the_output_of_the_agent(swept: Corpus) -> None:
    exact, offline, doubled, _ = swept.rows()
    # With L = 0 each number comes out with the half second it names: always one share behind.
    assert float(exact["BLEU"]) == float(exact["chrF"]) == 100
    assert float(exact["AL"]) == float(exact["LAAL"]) == float(exact["DAL"]) == 500
    assert float(offline["AL"]) == 1000 * np.mean(swept.half_seconds) / 2
    assert float(doubled["BLEU"]) < 100
    # 160 ms late means a segment of 500 ms late, but for the last word.
    assert float(doubled["AL"]) > float(exact["AL"])
    for row in (exact, doubled):
        assert float(row["AL"]) < float(row["AL_CA"]) < float(row["AL"]) + 500
        assert 0 < float(row["compute_rtf"]) < 1
        assert float(row["BLEU_lo"]) <= float(row["BLEU"]) <= float(row["BLEU_hi"])


def test_p_values_compare_with_l0_at_the_same_segment_size(swept: Corpus) -> None:
    exact, offline, doubled, doubled_offline = swept.rows()
    assert exact["p_vs_L0"] == offline["p_vs_L0"] == ""
    assert 0 < float(doubled["p_vs_L0"]) < 0.5
    assert 0 < float(doubled_offline["p_vs_L0"]) < 0.5


def test_the_json_has_the_provenance_of_the_numbers(swept: Corpus) -> None:
    results = swept.results()
    assert results["num_utterances"] == 4
    assert results["audio_seconds"] == pytest.approx(sum(swept.half_seconds) / 2)
    assert "tok:13a" in results["signatures"]["BLEU"]
    assert results["bootstrap"] == {"resamples": 50, "seed": 12345, "confidence": 0.95}
    assert results["provenance"]["versions"]["simuleval"] == "1.1.4"
    assert results["provenance"]["machine"]["cpu"]
    assert results["failures"] == []
    point = results["points"][0]
    assert point["command"].startswith("simuleval --agent")
    assert "--computation-aware" not in point["command"]
    assert point["stride_n"] == 1
    assert set(TEXT.tsv) <= set(point)
    assert point["started"] <= point["finished"]
    assert results["points"][1]["segment_ms"] is None
    assert results["points"][1]["offline"] is True


def test_the_pictures_name_their_axes_and_lines(swept: Corpus) -> None:
    assert (swept.output / "curve.png").read_bytes().startswith(b"\x89PNG")
    picture = (swept.output / "curve.svg").read_text()
    for words in ("AL (ms)", "LAAL (ms)", "BLEU", "L = 0", "L = 1 offline", "tiny-model", "500 ms"):
        assert words in picture


def test_a_second_sweep_runs_only_what_is_new_unfinished_or_changed(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--max-future-frames", 0, "--segment-sizes", 500)
    assert corpus.sweep(*words) == 0
    assert started(capsys.readouterr().out) == ["L0_seg500_n1"]
    first = corpus.rows()

    assert corpus.sweep(*words) == 0
    again = capsys.readouterr().out
    assert started(again) == []
    assert "already done" in again
    assert corpus.rows() == first

    # Half done: SimulEval is through, but the point was not marked as finished.
    (corpus.output / "L0_seg500_n1" / MARKER).unlink()
    assert corpus.sweep(*words, 700) == 0
    assert started(capsys.readouterr().out) == ["L0_seg500_n1", "L0_seg700_n1"]

    corpus.target.write_text(corpus.target.read_text().replace("one", "once"))
    assert corpus.sweep(*words) == 0
    assert started(capsys.readouterr().out) == ["L0_seg500_n1"]
    assert float(corpus.rows()[0]["BLEU"]) < float(first[0]["BLEU"])


def test_every_option_and_input_of_a_point_decides_whether_it_still_counts(corpus: Corpus) -> None:
    point = Point(0, 320, 1)

    def setup(*agent_args: str) -> Setup:
        test_set = read_test_set(corpus.source, corpus.target)
        return Setup(corpus.agent, corpus.model, test_set, corpus.output, agent_args)

    def counts(now: Setup) -> bool:
        return read_marker(now.folder(point), now.command(point), now.inputs_digest()) is not None

    folder = setup().folder(point)
    folder.mkdir(parents=True)
    (folder / "instances.log").write_text('{"index": 0}\n')
    assert not counts(setup())
    write_marker(folder, command=setup().command(point), inputs=setup().inputs_digest())
    assert counts(setup())
    assert not counts(setup("--silent"))
    for path in (
        corpus.agent,
        corpus.model,
        corpus.target,
        folder / "instances.log",
        folder / MARKER,
    ):
        before = path.read_text()
        path.write_text(before.replace("e", "E", 1))
        assert not counts(setup()), path
        path.write_text(before)
        assert counts(setup()), path
    soundfile.write(corpus.wavs[0], np.zeros(8001), 16000)
    assert not counts(setup())


def test_a_point_that_fails_does_not_lose_the_others(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--max-future-frames", 0, 2, "--segment-sizes", 500, "--", "--refused", 2)
    assert corpus.sweep(*words) == 1
    captured = capsys.readouterr()
    log = corpus.output / "L2_seg500_n1" / "run.log"
    assert (
        "L2_seg500_n1 failed: simuleval ended with status 1: ValueError: not trained"
        in captured.err
    )
    assert str(log) in captured.err
    assert "Traceback" in log.read_text()
    assert [row["L"] for row in corpus.rows()] == ["0"]
    assert corpus.results()["failures"][0]["log"] == str(log)

    # What failed is tried again, what is done is not.
    assert corpus.sweep(*words) == 1
    assert started(capsys.readouterr().out) == ["L2_seg500_n1"]


def test_an_agent_that_never_writes_is_a_failure_with_that_reason(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--max-future-frames", 0, "--segment-sizes", 500, "--", "--silent")
    assert corpus.sweep(*words) == 1
    assert "the agent wrote nothing for any utterance" in capsys.readouterr().err
    assert not (corpus.output / "results.tsv").exists()


def test_further_strides_have_files_of_their_own(corpus: Corpus) -> None:
    words = ("--max-future-frames", 0, "--segment-sizes", 500, "--stride-n", 1, 2, "--offline")
    assert corpus.sweep(*words) == 0
    one, two = corpus.rows(), corpus.rows("results_n2.tsv")
    assert [row["segment_ms"] for row in one] == [row["segment_ms"] for row in two]
    assert float(one[0]["AL"]) < float(two[0]["AL"])
    assert one[1] == two[1]
    assert [entry["stride_n"] for entry in corpus.results()["points"]] == [1, 2, 1]
    assert (corpus.output / "curve_n2.png").is_file()


@pytest.mark.slow
def test_the_shipped_agent_is_scored_with_a_model_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a model folder and audio to the curve, with random weights."""
    corpus = Corpus(tmp_path, half_seconds=(5, 7, 6))
    for index, wav in enumerate(corpus.wavs):
        soundfile.write(wav, babble(3.3 - 0.5 * index, seed=index), 16000)
    folder = make_model_folder(tmp_path / "model")
    monkeypatch.chdir(ROOT)  # where agents/s2tt.py, the default, is
    given = corpus.words("--model-path", folder)
    given = [word for word in given if word not in ("--agent", str(corpus.agent))]
    words = ["--max-future-frames", "0", "1", "--segment-sizes", "320", "--offline"]
    assert main([*given, *words]) == 0
    assert len(corpus.rows()) == 4
    lines = {
        name: (corpus.output / name / "instances.log").read_text().splitlines()
        for name in ("L0_seg320_n1", "L0_offline_n1", "L1_seg320_n1")
    }
    predictions = {
        name: [json.loads(line)["prediction"] for line in log] for name, log in lines.items()
    }
    assert all(predictions["L0_seg320_n1"])
    # Cutting does not matter, the look-ahead does.
    assert (
        predictions["L0_seg320_n1"] == predictions["L0_offline_n1"] != predictions["L1_seg320_n1"]
    )
    streamed, offline = corpus.rows()[:2]
    assert float(streamed["AL"]) < float(offline["AL"])


BAD_INPUTS = {
    "missing": (
        lambda c: c.wavs[1].unlink(),
        "line 2: {wavs[1]} cannot be read as audio: there is no such file",
    ),
    "no samples": (
        lambda c: soundfile.write(c.wavs[2], np.zeros(0), 16000),
        "line 3: {wavs[2]}: has no samples",
    ),
    "not audio": (lambda c: c.wavs[0].write_text("text"), "line 1: {wavs[0]} cannot be read"),
    "too few references": (
        lambda c: c.target.write_text("one two\n"),
        "{source} has 4 lines and {target} has 1: {target} is shorter by 3 than {source}.",
    ),
    "blank path": (
        lambda c: c.source.write_text(c.source.read_text().replace("\n", "\n\n", 1)),
        "{source}, line 2: is blank; each line must be the path of a recording.",
    ),
    "blank reference": (
        lambda c: c.target.write_text("one\n\n  \nfour\n"),
        "{target}, line 3: is blank; each line must be a reference.",
    ),
    "empty list": (lambda c: c.source.write_text(""), "{source} is empty."),
    "no list": (lambda c: c.source.unlink(), "{source}: cannot be read"),
    "Latin-1": (
        lambda c: c.target.write_bytes(b"one\ntwo\nd\xe9j\xe0\nfour\n"),
        "{target}, line 3: byte 0xe9 is not UTF-8",
    ),
    "UTF-16": (
        lambda c: c.target.write_bytes(c.target.read_text().encode("utf-16")),
        "{target} is UTF-16 or UTF-32",
    ),
    "a pipe": (
        lambda c: (c.target.unlink(), os.mkfifo(c.target)),
        "{target}: cannot be read: it is not a file",
    ),
    "several references": (
        lambda c: c.target.write_text(c.target.read_text().replace("two three", "two\tthree", 2)),
        "{target}: must have one reference per line, but line 1, 2 holds a tab",
    ),
    "no agent": (lambda c: c.agent.unlink(), "`--agent` must be a file, but {agent} is not one."),
    "no model": (lambda c: c.model.unlink(), "but {model} does not exist."),
}


@pytest.mark.parametrize(("spoil", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_bad_inputs_are_named_before_anything_is_started(
    corpus: Corpus, capsys: pytest.CaptureFixture[str], spoil: Any, message: str
) -> None:
    spoil(corpus)
    assert corpus.sweep() == 2
    assert message.format(**vars(corpus)) in capsys.readouterr().err
    assert not corpus.output.exists()


@pytest.mark.parametrize(
    "words", [("--jobs", 0), ("--segment-sizes", 0), ("--max-future-frames", -1), ("--segment", 3)]
)
def test_bad_arguments_are_refused(corpus: Corpus, words: tuple[object, ...]) -> None:
    with pytest.raises(SystemExit) as stopped:
        corpus.sweep(*words)
    assert stopped.value.code == 2
    assert not corpus.output.exists()


def test_it_runs_as_a_script_from_the_root() -> None:
    command = [sys.executable, "eval/latency_curve.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--max-future-frames" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sweep_that_is_stopped_ends_its_processes(corpus: Corpus, number: signal.Signals) -> None:
    trap = corpus.folder / "trap"
    trap.write_text("0")
    witness = corpus.folder / "trap.sprung"
    words = corpus.words("--max-future-frames", 0, "--", "--trap", trap)
    sweep = subprocess.Popen([sys.executable, "eval/latency_curve.py", *words], cwd=ROOT)
    try:
        while not (witness.is_file() and witness.read_text()):
            assert sweep.poll() is None
            time.sleep(0.05)
        sweep.send_signal(number)
        assert sweep.wait(timeout=30) in (130, 143)
    finally:
        sweep.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(int(witness.read_text()), 0)
    assert not list(corpus.output.glob(f"*/{MARKER}"))


def test_a_row_lists_its_values_in_the_order_of_the_table(swept: Corpus) -> None:
    test_set = read_test_set(swept.source, swept.target)
    setup = Setup(swept.agent, swept.model, test_set, swept.output)
    rows = build_rows(setup, [Point(0, 500, 1), Point(1, 500, 1)], 20, seed=1)
    assert tuple(rows[0].values()) == TEXT.tsv
    lines = table(rows).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
