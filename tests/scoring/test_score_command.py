"""`echostream score`: real runs of SimulEval, the printed table, the files, and how it ends."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from run_logs import fork_line, speech_line, text_line, write_run
from simuleval.evaluator.instance import LogInstance
from simuleval.evaluator.scorers import get_scorer_class
from tiny_model import SAMPLE_RATE, babble, make_model_folder

from echostream.cli import main
from echostream.scoring.metrics.table import NAMES

ROOT = Path(__file__).resolve().parents[2]
METRICS = [name for name in NAMES if name != "YAAL"]
Capture = pytest.CaptureFixture[str]


def evaluate(folder: Path, model: Path, *flags: str) -> Path:
    """A run folder of the real `simuleval` over three recordings, the last of them silence."""
    folder.mkdir()
    sounds = [babble(3, seed=1), babble(2, seed=2), np.zeros(SAMPLE_RATE, np.float32)]
    for number, sound in enumerate(sounds):
        soundfile.write(folder / f"{number}.wav", sound, SAMPLE_RATE)
    (folder / "source.txt").write_text("".join(f"{folder / f'{i}.wav'}\n" for i in range(3)))
    (folder / "target.txt").write_text("the black cat sleeps in the house\n" * 3)
    command = [sys.executable, "-m", "simuleval.cli", "--agent", str(ROOT / "agents" / "s2tt.py")]
    command += ["--model-path", str(model), "--source", "source.txt", "--target", "target.txt"]
    command += ["--output", "out", "--source-segment-size", "320", "--no-progress-bar"]
    command += ["--latency-metrics", *METRICS, *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A run without and one with --computation-aware."""
    runs = tmp_path_factory.mktemp("runs")
    model = make_model_folder(runs / "model")
    return {
        False: evaluate(runs / "plain", model),
        True: evaluate(runs / "aware", model, "--computation-aware"),
    }


def written(run: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((run / "echostream_scores.json").read_text())
    return content


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize("aware", [False, True])
def test_the_values_of_a_real_run_are_those_of_simulevals_scorers_on_its_log(
    runs: dict[bool, Path], aware: bool
) -> None:
    assert main(["score", str(runs[aware])]) == 0
    lines = (runs[aware] / "instances.log").read_text().splitlines()
    theirs = {index: LogInstance(line) for index, line in enumerate(lines)}
    ours = written(runs[aware])["words"]
    assert isinstance(ours, dict) and ours["num_utterances"] >= 2
    for name in METRICS:
        for suffix, flag in (("", False), ("_CA", True)):
            scorer = get_scorer_class("latency", name)(computation_aware=flag)
            assert ours[name + suffix] == pytest.approx(scorer(theirs), abs=1e-6), name + suffix


@pytest.mark.parametrize("aware", [False, True])
def test_values_with_compute_are_the_metrics_of_elapsed(
    runs: dict[bool, Path], aware: bool, tmp_path: Path
) -> None:
    """Whatever the flags of the run: a log whose delays are `elapsed` has them as plain values."""
    assert main(["score", str(runs[aware])]) == 0
    lines = [json.loads(line) for line in (runs[aware] / "instances.log").read_text().splitlines()]
    assert any(line["elapsed"] != line["delays"] for line in lines)
    write_run(tmp_path, [{**line, "delays": line["elapsed"]} for line in lines])
    assert main(["score", str(tmp_path)]) == 0
    with_compute, as_delays = written(runs[aware])["words"], written(tmp_path)["words"]
    assert isinstance(with_compute, dict) and isinstance(as_delays, dict)
    for name in ("AL", "LAAL", "AP", "DAL", "StartOffset", "EndOffset"):
        assert with_compute[f"{name}_CA"] == pytest.approx(as_delays[name], abs=1e-6)
        assert with_compute[f"{name}_CA"] > with_compute[name]


def test_the_flag_of_simuleval_does_not_change_the_plain_values(
    runs: dict[bool, Path], tmp_path: Path
) -> None:
    assert main(["score", str(runs[False]), str(runs[True]), "--output", str(tmp_path)]) == 0
    plain, aware = table(tmp_path / "echostream_scores.tsv")
    assert (plain["run"], aware["run"]) == (str(runs[False]), str(runs[True]))
    for name in ("BLEU", "chrF", *METRICS):
        assert float(plain[name]) == float(aware[name])
    # SimulEval's own columns, where the flag was given, are another matter.
    (own,) = table(runs[False] / "scores.tsv")
    for name in ("BLEU", *METRICS):
        assert float(plain[name]) == pytest.approx(float(own[name]), abs=1e-3)


def test_the_table_has_a_row_for_each_run_and_for_each_way_of_counting(
    tmp_path: Path, capsys: Capture
) -> None:
    words = tmp_path / "words"
    write_run(words, [text_line(0, "the small cat sleeps", [1000, 2000, 3000, 4000])])
    pieces = tmp_path / "pieces"
    write_run(pieces, [text_line(0, "▁the ▁c at", [1000, 1500, 2000])])
    speech = tmp_path / "speech"
    write_run(speech, [speech_line(0, [1000, 4000], [600, 900])])
    assert main(["score", str(words), str(pieces), str(speech)]) == 0
    out = capsys.readouterr().out
    first, second = out.split("With compute")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in first.splitlines()]
    rows = [row for row in rows if row]
    header, _, *body = rows
    assert header[:6] == ["run", "counted in", "utterances", "BLEU", "chrF", "AL"]
    al = header.index("AL")
    assert [(row[0], row[1], row[al]) for row in body] == [
        (str(words), "words", "1000.0"),
        # Two words, at 1000 and 2000: lags of 1000 and 1000 against four of the reference.
        (str(pieces), "words", "1000.0"),
        # Three pieces: 1000, 500 and 0.
        (str(pieces), "pieces, as SimulEval counts", "500.0"),
        (str(speech), "writes of speech, as SimulEval counts", "2000.0"),
    ]
    assert str(speech) not in second.split("Latencies in ms")[0]  # no row without compute
    assert "BLEU: nrefs:1|case:mixed|eff:no|tok:13a" in second
    assert f"- {speech}: a log of speech has no times with compute" in second
    for run in (words, pieces, speech):
        assert sorted(path.name for path in run.iterdir()) == [
            "echostream_scores.json",
            "echostream_scores.tsv",
            "instances.log",
        ]


def test_a_cut_log_is_scored_without_its_last_line_and_the_command_ends_with_1(
    tmp_path: Path, capsys: Capture
) -> None:
    path = write_run(tmp_path / "run", [text_line(i, "the cat", [1.0, 2.0]) for i in range(3)])
    path.write_bytes(path.read_bytes()[:-100])
    assert main(["score", str(tmp_path / "run")]) == 1
    out = capsys.readouterr().out
    assert f"- {tmp_path / 'run'}: line 3 is cut off in the middle and was left out" in out
    scores = written(tmp_path / "run")
    assert scores["num_utterances"] == 2 and scores["words"] is not None
    assert isinstance(scores["left_out"], list) and "line 3" in scores["left_out"][0]


def test_a_run_that_cannot_be_scored_is_named_and_the_others_are_scored(
    tmp_path: Path, capsys: Capture
) -> None:
    write_run(tmp_path / "good", [text_line(0, "the cat", [1.0, 2.0])])
    (tmp_path / "empty").mkdir()
    names = [str(tmp_path / name) for name in ("none", "empty", "good")]
    assert main(["score", *names]) == 1
    captured = capsys.readouterr()
    assert f"{names[2]} " in captured.out
    complaints = captured.err.splitlines()
    assert len(complaints) == 2 and all("cannot be read: No such file" in c for c in complaints)
    assert [n in c for n, c in zip(names, complaints, strict=False)] == [True, True]
    assert main(["score", names[0]]) == 1
    assert capsys.readouterr().out == ""


def test_a_log_may_be_given_itself(tmp_path: Path) -> None:
    log = write_run(tmp_path, [text_line(0, "the cat", [1.0, 2.0])])
    assert main(["score", str(log)]) == 0
    assert (tmp_path / "echostream_scores.tsv").is_file()


def test_scores_that_cannot_be_written_are_printed_and_reported(
    tmp_path: Path, capsys: Capture
) -> None:
    write_run(tmp_path, [text_line(0, "the cat", [1.0, 2.0])])
    (tmp_path / "echostream_scores.json").mkdir()
    assert main(["score", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "| words " in captured.out
    assert f"{tmp_path}: its scores cannot be written" in captured.err
    assert not list(tmp_path.glob(".*.tmp"))


def test_names_of_folders_that_are_no_utf8_or_that_the_terminal_cannot_show_lose_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "good").mkdir()
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\t"))
    for folder in (odd, tmp_path / "猫", tmp_path / "good"):
        write_run(folder, [text_line(0, "the cat", [1.0, 2.0])])
    script = "import sys; from echostream.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "score", odd, tmp_path / "猫", tmp_path / "good"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "caf\\ufffd" in done.stdout and "\\u732b" in done.stdout and "good" in done.stdout
    (row,) = table(odd / "echostream_scores.tsv")
    assert row["run"] == "caf\ufffd "


def test_the_signature_names_its_runs_where_they_differ(tmp_path: Path, capsys: Capture) -> None:
    write_run(tmp_path / "a", [text_line(0, "猫が寝る", [1.0] * 4, reference="猫が寝る")])
    write_run(tmp_path / "b", [text_line(0, "the cat", [1.0, 2.0])])
    assert main(["score", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, tokenizer in (("a", "char"), ("b", "13a")):
        (line,) = [line for line in lines if f"tok:{tokenizer}" in line]
        assert line.endswith(f"({tmp_path / name})")
    assert sum(line.startswith("- chrF: ") for line in lines) == 1


def test_recognition_has_an_error_rate(tmp_path: Path, capsys: Capture) -> None:
    write_run(tmp_path, [text_line(0, "the cat sleeps", [1.0, 2.0, 3.0])])
    assert main(["score", str(tmp_path)]) == 0
    assert "WER" not in capsys.readouterr().out
    assert main(["score", str(tmp_path), "--task", "asr"]) == 0
    assert "WER" in capsys.readouterr().out
    (row,) = table(tmp_path / "echostream_scores.tsv")
    assert float(row["WER"]) == 25  # one of four words


def test_a_model_of_pieces_that_is_none_is_refused_before_anything_is_scored(
    tmp_path: Path, capsys: Capture
) -> None:
    write_run(tmp_path, [fork_line(0, ["▁the", "▁c", "at"], [1.0, 2.0, 3.0])])
    for name in ("none.model", "instances.log"):
        assert main(["score", str(tmp_path), "--target-spm", str(tmp_path / name)]) == 2
        captured = capsys.readouterr()
        assert str(tmp_path / name) in captured.err and captured.out == ""
    assert not (tmp_path / "echostream_scores.json").exists()


def test_yaal_has_a_column_where_omnisteval_is_and_a_line_where_it_is_not(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, [text_line(0, "the small cat sleeps", [1000, 2500, 4000, 4000])])
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "omnisteval", None)
        assert main(["score", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "| YAAL" not in out.replace("  ", "") and "YAAL needs OmniSTEval: `pip install" in out
    pytest.importorskip("omnisteval")
    assert main(["score", str(tmp_path)]) == 0
    assert "YAAL" in capsys.readouterr().out
    words = written(tmp_path)["words"]
    assert isinstance(words, dict)
    # 1000 - 0 and 2500 - 1000; with compute 1010 and 2520 - 1000.
    assert (words["YAAL"], words["YAAL_CA"]) == pytest.approx((1250, 1265))
