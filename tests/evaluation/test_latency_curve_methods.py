"""Both methods in one sweep: rows of their own, compared with each other, in one picture."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
from pathlib import Path

import pytest
import soundfile
import yaml
from tiny_model import babble, make_model_folder
from tiny_sweep import Corpus, logged

from echostream.config import EncoderConfig, ModelConfig, to_dict
from echostream.evaluation.arguments import parse
from echostream.evaluation.curve import main
from echostream.evaluation.plot import make_figure
from echostream.evaluation.point import Point
from echostream.evaluation.provenance import ROOT
from echostream.evaluation.published import Published
from echostream.evaluation.report import Row
from echostream.scoring.simuleval_scores import Scores

BOTH = ("--max-future-frames", 0, 1, "--segment-sizes", 500, "--decoding-methods", "ctc", "decoder")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    corpus = Corpus(tmp_path_factory.mktemp("methods"))
    assert corpus.sweep(*BOTH, "--offline") == 0
    return corpus


def model_folder(path: Path, decoder_layers: int) -> Path:
    """As much of a model folder as a sweep reads itself."""
    path.mkdir()
    config = to_dict(ModelConfig(24, 24, EncoderConfig(), decoder_layers=decoder_layers))
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    return path


def test_a_point_of_the_decoder_has_a_folder_of_its_own_and_the_others_keep_theirs() -> None:
    assert Point(0, 320, 1).name == "L0_seg320_n1"
    assert Point(1, None, 2, "decoder").name == "L1_offline_n2_decoder"
    assert Point(1, None, 2, "decoder:3").name == "L1_offline_n2_decoder-k3"
    assert Point(0, 320, 1, "wait-k:3").name == "L0_seg320_n1_wait-k3"


@pytest.mark.parametrize(
    ("method", "flags"),
    [
        ("ctc", []),
        ("ctc:1", ["--lagging-k1", "1"]),
        ("decoder", ["--decoding-method", "decoder"]),
        ("decoder:2", ["--decoding-method", "decoder", "--lagging-k1", "2"]),
        ("wait-k:3", ["--decoding-method", "decoder", "--policy", "wait-k:3"]),
        ("alignatt:12", ["--decoding-method", "decoder", "--policy", "alignatt:12"]),
    ],
)
def test_a_method_may_have_a_lagging_or_a_policy(method: str, flags: list[str]) -> None:
    assert Point(0, 320, 1, method).flags == flags
    for flag in ("--decoding-methods", "--policies", "--writers"):
        assert parse([flag, method], None).decoding_methods == [method]


@pytest.mark.parametrize(
    "method",
    ["beam", "decoder:", "decoder:-1", "ctc:x", "decoder:1.5", "wait-k", "wait-k:0", "alignatt:"],
)
def test_a_method_that_is_none_is_refused(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--decoding-methods", method], None)
    assert f"but is {method} instead" in capsys.readouterr().err


def test_a_lagging_of_zero_is_the_method_itself() -> None:
    assert parse(["--decoding-methods", "decoder:0", "ctc:00"], None).decoding_methods == [
        "decoder",
        "ctc",
    ]


def test_the_table_has_a_row_for_each_method(swept: Corpus) -> None:
    assert [(row["method"], row["L"], row["segment_ms"]) for row in swept.rows()] == [
        (method, lookahead, segment)
        for method in ("ctc", "decoder")
        for lookahead in ("0", "1")
        for segment in ("500", "offline")
    ]
    commands = [point["command"] for point in swept.results()["points"]]
    assert ["--decoding-method" in command for command in commands] == [False] * 4 + [True] * 4
    names = [point["name"] for point in swept.results()["points"]]
    assert (names[1], names[5]) == ("L0_offline_n1", "L0_offline_n1_decoder")


def test_p_values_compare_where_one_thing_differs(swept: Corpus) -> None:
    rows = {(row["method"], row["L"], row["segment_ms"]): row for row in swept.rows()}
    for (method, lookahead, _), row in rows.items():
        assert (row["p_vs_L0"] == "") == (lookahead == "0")
        assert (row["p_vs_ctc"] == "") == (method == "ctc")
    # With L = 0 the one is always right and the other never.
    assert float(rows["decoder", "0", "500"]["p_vs_ctc"]) < 0.05
    assert float(rows["ctc", "0", "500"]["BLEU"]) == 100


def test_the_printed_table_names_the_methods_where_there_are_two(
    swept: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    assert swept.sweep(*BOTH, "--offline") == 0
    header, _, first = table(capsys.readouterr().out)[:3]
    assert header.split()[0] == "method"
    assert header.endswith("p vs ctc")
    assert first.split()[0] == "ctc"
    assert swept.sweep(*BOTH[:-1]) == 0
    header, _, first = table(capsys.readouterr().out)[:3]
    assert "method" not in header
    assert first.split()[0] == "0"


def table(output: str) -> list[str]:
    lines = output.splitlines()
    start = next(index for index, line in enumerate(lines) if "segment" in line and "BLEU" in line)
    return lines[start:]


def test_the_picture_tells_methods_by_line_and_look_aheads_by_colour(swept: Corpus) -> None:
    assert swept.sweep(*BOTH, "--offline") == 0
    picture = (swept.output / "curve.svg").read_text()
    for words in ("L = 0", "L = 1", "ctc", "decoder", "decoder offline", "500"):
        assert words in picture
    assert "L = 1 offline" not in picture


def shipped_rows() -> list[Row]:
    """The rows of the curve in the README."""
    unknown = {field.name: math.nan for field in dataclasses.fields(Scores)}
    with open(ROOT / "models/fr-en-demo/results.tsv", newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t"))
    return [
        Row(
            Point(int(line["L"]), int(line["segment_ms"]), 1, line["method"]),
            Scores(**{**unknown, **{n: float(line[n]) for n in ("BLEU", "AL", "LAAL")}}),  # type: ignore[arg-type]
            float(line["BLEU_lo"]),
            float(line["BLEU_hi"]),
            None,
        )
        for line in lines
    ]


def test_no_name_of_a_point_covers_another_in_the_shipped_picture() -> None:
    figure = make_figure(shipped_rows(), "demo")
    figure.canvas.draw()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == 10
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_the_settings_of_a_policy_are_a_line_where_there_is_one_segment_size() -> None:
    rows = [row for row in shipped_rows() if row.point.method == "ctc"]
    numbers = {"ctc": 0, "decoder": 0, "decoder:2": 4, "wait-k:3": 8, "wait-k:5": 12}
    swept = [
        dataclasses.replace(
            row,
            point=dataclasses.replace(row.point, method=method),
            scores=dataclasses.replace(row.scores, AL=100.0 * shift, LAAL=90.0 * shift),
        )
        for row in rows
        for method, shift in numbers.items()
    ]
    figure = make_figure(swept, "demo")
    for axes in figure.axes:
        names = sorted(text.get_text() for text in axes.texts)
        assert names == sorted(2 * ["0", "0", "2", "3", "5"])
        assert len(axes.containers) == 2 * 3
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words[2:] == ["ctc", "decoder", "wait-k"]
    assert "number of the method; segments of 320 ms" in figure.get_suptitle()


def test_published_scores_are_named_lines_in_every_panel_and_recorded(swept: Corpus) -> None:
    lines = "ESPnet = Transformer=6.18", "$$A$I=10.9"
    assert swept.sweep(*BOTH, "--offline", "--published", *lines) == 0
    picture = (swept.output / "curve.svg").read_text()
    for words in ("ESPnet = Transformer: 6.18", "$$A$I: 10.9"):
        assert picture.count(words) >= 2
    results = json.loads((swept.output / "results.json").read_text())
    assert results["published"] == {"ESPnet = Transformer": 6.18, "$$A$I": 10.9}
    assert "--published 'ESPnet = Transformer=6.18'" in results["command"]
    figure = make_figure(shipped_rows(), "demo", [Published("$A$I", 50.0)])
    for axes in figure.axes:
        assert r"\$A\$I: 50" in [text.get_text() for text in axes.texts]  # no formula
        assert [50.0, 50.0] in [list(line.get_ydata()) for line in axes.lines]


@pytest.mark.parametrize("word", ["ESPnet", "=3", "ESPnet=", "ESPnet=nan", "ESPnet=ten"])
def test_a_published_score_without_name_or_number_is_refused(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["--published", word], "")
    assert f"must be a name and a number, like ESPnet=10.9, but is {word!r}" in (
        capsys.readouterr().err
    )


def test_points_that_lie_on_each_other_have_one_name() -> None:
    """As in curves of speech, where the quality does not depend on the segment size."""
    moved = [
        dataclasses.replace(
            row,
            point=dataclasses.replace(row.point, segment_ms=size),
            scores=dataclasses.replace(row.scores, AL=latency, LAAL=latency),
        )
        for row in shipped_rows()
        if row.point.line == "ctc"
        for size, latency in ((320, 340.0), (640, 490.0), (960, 490.0))
    ]
    for axes in make_figure(moved, "demo").axes:
        assert sorted(text.get_text() for text in axes.texts) == 2 * ["320 ms"] + 2 * [
            "640 / 960 ms"
        ]


@pytest.mark.parametrize(
    ("layers", "given", "num_points"),
    [(0, (), 1), (2, (), 2), (2, ("decoder",), 1), (0, ("ctc",), 1)],
)
def test_a_model_with_a_decoder_is_swept_with_both_methods(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    layers: int,
    given: tuple[str, ...],
    num_points: int,
) -> None:
    corpus = Corpus(tmp_path)
    model = model_folder(tmp_path / "model", layers)
    words = corpus.words("--model-path", model, "--max-future-frames", 0, "--segment-sizes", 500)
    flags = ["--decoding-methods", *given] if given else []
    assert main([*words, *flags, "--slurm-script", str(tmp_path / "s.sbatch")]) == 0
    assert capsys.readouterr().out.startswith(f"{num_points} tasks")


def test_a_decoder_that_the_model_does_not_have_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Corpus(tmp_path)
    model = model_folder(tmp_path / "model", 0)
    assert main(corpus.words("--model-path", model, "--decoding-methods", "ctc", "decoder")) == 2
    message = (
        f"`--decoding-methods` must be ctc for {model}, which has no text decoder, "
        "but is ctc decoder instead."
    )
    assert message in capsys.readouterr().err


def test_a_look_ahead_that_the_model_was_not_trained_for_is_refused_before_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Corpus(tmp_path)
    model = model_folder(tmp_path / "model", 0)
    assert main(corpus.words("--model-path", model, "--max-future-frames", 0, 9)) == 2
    message = f"`--max-future-frames` must be among 0, 1, 2 for {model}, but is 9 instead."
    assert message in capsys.readouterr().err


def test_a_stride_of_a_policy_that_uses_none_is_refused_before_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Corpus(tmp_path)
    assert corpus.sweep("--policies", "wait-k:3", "--stride-n", 2) == 2
    assert "`stride_n` must be 1 with the policy wait-k:3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "word", ["--decoding-method", "--policy", "--writer=decoder", "--stride-n", "--output"]
)
def test_flags_of_the_sweep_cannot_be_given_to_the_agent_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    corpus = Corpus(tmp_path)
    assert corpus.sweep("--", word, "2") == 2
    assert f"`{word}` must not be given after `--`" in capsys.readouterr().err
    assert not corpus.output.exists()


@pytest.mark.slow
def test_the_shipped_agent_writes_with_each_method_whole_or_in_shards(tmp_path: Path) -> None:
    """From a model folder with a decoder and audio to the curve, with random weights."""
    corpus = Corpus(tmp_path, half_seconds=(5, 7, 6))
    for index, wav in enumerate(corpus.wavs):
        soundfile.write(wav, babble(3.3 - 0.5 * index, seed=index), 16000)
    corpus.model = make_model_folder(tmp_path / "model", decoder_layers=1)
    corpus.agent = ROOT / "agents" / "s2tt.py"
    words = ("--max-future-frames", 0, "--segment-sizes", 320)
    assert corpus.sweep(*words, "--policies", "ctc", "alignatt:3", "--offline") == 0
    predictions = {
        point["name"]: [line["prediction"] for line in logged(corpus.output / point["name"])]
        for point in corpus.results()["points"]
    }
    assert list(predictions) == [
        *("L0_seg320_n1", "L0_offline_n1"),
        *("L0_seg320_n1_alignatt3", "L0_offline_n1_alignatt3"),
    ]
    # Cutting does not matter, the method does.
    assert predictions["L0_seg320_n1"] == predictions["L0_offline_n1"]
    assert predictions["L0_seg320_n1_alignatt3"] == predictions["L0_offline_n1_alignatt3"]
    assert predictions["L0_seg320_n1_alignatt3"] != predictions["L0_seg320_n1"]

    sharded = corpus.elsewhere()
    assert sharded.sweep(*words, "--policies", "alignatt:3", "--shards", 2) == 0
    log = logged(sharded.output / "L0_seg320_n1_alignatt3")
    assert log == logged(corpus.output / "L0_seg320_n1_alignatt3")
