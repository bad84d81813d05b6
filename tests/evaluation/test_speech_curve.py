"""The sweep of speech, run for real: `simuleval`, an agent that says numbers, a judge of them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_model import babble, make_model_folder
from tiny_speech import make_speaking_folder
from tiny_speech_sweep import SpokenCorpus
from tiny_sweep import Corpus, logged

from echostream.evaluation.arguments import parse
from echostream.evaluation.columns import SPEECH
from echostream.evaluation.curve import main
from echostream.evaluation.point import Point
from echostream.scoring.score import Options, score_run
from echostream.scoring.simuleval_speech import OF_SIMULEVAL

Capture = pytest.CaptureFixture[str]
SWEEP = ("--max-future-frames", 0, 1, "--segment-sizes", 500, 1000)
POINT = ("--max-future-frames", 1, "--segment-sizes", 500)
HEADER = (
    "L segment_ms algorithmic_latency_ms ASR_BLEU ASR_BLEU_lo ASR_BLEU_hi ASR_chrF ASR_WER "
    "ASR_loops recordings judge_WER AL LAAL AP DAL ATD StartOffset EndOffset NumChunks "
    "DiscontinuitySum DiscontinuityAve DiscontinuityNum BacklogLongest BacklogLongestMax "
    "BacklogEnd BacklogEndMax p_vs_L0 method p_vs_ctc refine_steps p_vs_refine0"
)


def folders(corpus: Corpus) -> list[Path]:
    return [corpus.output / point["name"] for point in corpus.results()["points"]]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> SpokenCorpus:
    """One sweep of two look-aheads and two segment sizes, judged."""
    corpus = SpokenCorpus(tmp_path_factory.mktemp("spoken"))
    assert corpus.sweep(*SWEEP, *corpus.judged) == 0
    return corpus


@pytest.fixture
def sweep(swept: SpokenCorpus) -> Iterator[SpokenCorpus]:
    """The same sweep for a test that changes its files; they are judged again afterwards."""
    yield swept
    assert swept.sweep(*SWEEP, *swept.judged) == 0


@pytest.fixture
def corpus(tmp_path: Path) -> SpokenCorpus:
    return SpokenCorpus(tmp_path)


def test_the_table_has_its_columns_and_a_row_for_each_point(swept: SpokenCorpus) -> None:
    assert (swept.output / "results.tsv").read_text().splitlines()[0] == "\t".join(HEADER.split())
    assert tuple(HEADER.split()) == SPEECH.tsv
    assert [(row["L"], row["segment_ms"]) for row in swept.rows()] == [
        *(("0", "500"), ("0", "1000")),
        *(("1", "500"), ("1", "1000")),
    ]


def test_the_quality_is_that_of_what_the_agent_says(swept: SpokenCorpus) -> None:
    for row in swept.rows():
        if row["L"] == "0":
            assert float(row["ASR_BLEU"]) == float(row["ASR_chrF"]) == 100
            assert float(row["ASR_WER"]) == 0
        else:  # the first number is said twice
            words = sum(swept.half_seconds)
            assert float(row["ASR_WER"]) == pytest.approx(100 * 4 / words, abs=1e-3)
            low, high = float(row["ASR_BLEU_lo"]), float(row["ASR_BLEU_hi"])
            assert low <= float(row["ASR_BLEU"]) <= high < 100
        assert row["recordings"] == "without inserted silence"
        assert row["ASR_loops"] == "0"


def test_look_aheads_are_compared_by_what_is_heard(swept: SpokenCorpus) -> None:
    for row in swept.rows():
        assert (row["p_vs_L0"] == "") == (row["L"] == "0")
        if row["L"] == "1":
            assert 0 < float(row["p_vs_L0"]) < 0.5


def test_the_latency_is_that_of_simuleval_and_of_the_command_score(swept: SpokenCorpus) -> None:
    for row, folder in zip(swept.rows(), folders(swept), strict=True):
        with open(folder / "scores.tsv", newline="") as file:
            theirs = next(csv.DictReader(file, delimiter="\t"))
        for name in OF_SIMULEVAL:
            assert float(row[name]) == pytest.approx(float(theirs[name]), abs=1.1e-3)
        run = score_run(folder / "instances.log", Options())
        assert run.discontinuity is not None and run.backlog is not None
        for name, value in (
            ("ATD", run.simuleval_units.values["ATD"]),
            ("DiscontinuitySum", run.discontinuity.total),
            ("DiscontinuityNum", run.discontinuity.number),
            ("BacklogLongestMax", run.backlog.longest_max),
            ("BacklogEnd", run.backlog.at_end),
        ):
            assert float(row[name]) == pytest.approx(value, abs=1e-3), name


def test_the_backlog_is_what_waits_when_the_source_ends(swept: SpokenCorpus) -> None:
    """With L = 0 one number of 100 ms comes each half second, and one or two at the end."""
    small, large = swept.rows()[:2]
    assert float(small["BacklogLongest"]) == float(small["BacklogEndMax"]) == 100
    assert float(large["BacklogLongest"]) == float(large["BacklogLongestMax"]) == 200
    # Recordings of 4, 6, 9 and 5 half seconds.
    assert float(large["BacklogEnd"]) == pytest.approx(np.mean([200, 200, 100, 100]))


def test_the_pictures_name_their_axes_and_lines(swept: SpokenCorpus) -> None:
    curve = (swept.output / "curve.svg").read_text()
    for words in ("ASR-BLEU", "AL (ms)", "ATD (ms)", "L = 0", "L = 1", "1000 ms"):
        assert words in curve
    playing = (swept.output / "playing.svg").read_text()
    for words in ("first sound", "last sound", "longest backlog", "segment (ms)", "L = 1"):
        assert words in playing
    for name in ("curve", "playing"):
        assert (swept.output / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_judged_is_not_judged_again(sweep: SpokenCorpus, capsys: Capture) -> None:
    """Points that sound the same share their transcripts, too: here, those of a look-ahead."""
    judged, first = sweep.num_transcribed(), sweep.rows()
    assert judged == 2 * len(sweep.wavs)
    assert sweep.sweep(*SWEEP, *sweep.judged) == 0
    assert sweep.num_transcribed() == judged
    assert sweep.rows() == first
    again = capsys.readouterr().out
    assert ": started" not in again
    assert again.count("judged, 0 recordings transcribed") == 4

    # Judged in part: as after a kill.
    for folder in folders(sweep)[:2]:
        path = folder / "asr_transcripts.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert sweep.sweep(*SWEEP, *sweep.judged) == 0
    assert sweep.num_transcribed() == judged + 1
    assert sweep.rows() == first


def test_without_a_judge_there_is_the_latency_alone(corpus: SpokenCorpus, capsys: Capture) -> None:
    assert corpus.sweep(*POINT) == 0
    captured = capsys.readouterr().out
    assert "no quality, and no picture of it: nothing was judged. `--asr-judge`" in captured
    assert "ASR-BLEU" not in captured and "EndOffset" in captured
    (row,) = corpus.rows()
    assert float(row["AL"]) > 0 and float(row["BacklogEnd"]) > 0
    assert {row[name] for name in SPEECH.tsv if name.startswith("ASR_")} == {""}
    assert corpus.results()["judge"] is None
    assert (corpus.output / "playing.png").exists() and not (corpus.output / "curve.png").exists()

    # Judged later, without being run again.
    assert corpus.sweep(*POINT, *corpus.judged) == 0
    assert ": started" not in capsys.readouterr().out
    assert float(corpus.rows()[0]["ASR_BLEU"]) > 0


def test_shards_are_judged_as_one_run(corpus: SpokenCorpus, capsys: Capture) -> None:
    assert corpus.sweep(*POINT, *corpus.judged, "--shards", 2) == 0
    whole = corpus.elsewhere()
    assert whole.sweep(*POINT, *corpus.judged) == 0
    assert corpus.rows() == whole.rows()
    (sharded,), (single,) = folders(corpus), folders(whole)
    for one, other in zip(logged(sharded), logged(single), strict=True):
        recording = sharded / "wavs" / f"{one['index']}_pred.wav"
        assert one["prediction"] == str(recording)
        assert recording.read_bytes() == Path(other["prediction"]).read_bytes()
        assert {**one, "prediction": ""} == {**other, "prediction": ""}
    assert (sharded / "scores.tsv").read_bytes() == (single / "scores.tsv").read_bytes()

    # A recording of a shard that is lost is made again, with the rest of its shard.
    (sharded / "point.json").unlink()
    next(sharded.glob("shard-1-of-2/from-*/wavs/0_pred.wav")).unlink()
    capsys.readouterr()
    assert corpus.sweep(*POINT, *corpus.judged, "--shards", 2) == 0
    captured = capsys.readouterr().out
    assert captured.count(": started") == 1 and "cut or damaged (the recording of" in captured
    assert corpus.rows() == whole.rows()

    # A run of the whole point leaves the recordings of shards as they are.
    part = next(sharded.glob("shard-0-of-2/from-*/wavs/0_pred.wav"))
    before = part.read_bytes()
    (sharded / "point.json").unlink()
    soundfile.write(corpus.wavs[0], np.zeros(8000), 16000)
    assert corpus.sweep(*POINT) == 0
    assert part.read_bytes() == before


def test_a_judge_that_fails_does_not_lose_the_latency(sweep: SpokenCorpus, capsys: Capture) -> None:
    broken = f"command:{sys.executable} -c \"raise SystemExit('out of memory')\""
    assert sweep.sweep(*POINT, "--asr-judge", broken) == 1
    captured = capsys.readouterr()
    assert "L1_seg500_n1 failed: its speech was not judged: command" in captured.err
    assert "out of memory" in captured.err
    assert "no quality, and no picture of it: no point could be judged." in captured.out
    (row,) = sweep.rows()
    assert row["ASR_BLEU"] == "" and float(row["AL"]) > 0


def test_a_judge_with_many_errors_of_its_own_is_said_to_rank_nothing(
    sweep: SpokenCorpus, capsys: Capture
) -> None:
    corpus = sweep
    samples = np.repeat([1000 * (n + 1) for n in range(4)], 1600).astype(np.int16)
    soundfile.write(corpus.folder / "said.wav", samples, 16000)
    listed = corpus.folder / "said.tsv"
    said = {"one two three four": 0.0, "one two three five": 25.0}
    for text, errors in said.items():
        listed.write_text(f"said.wav\t{text}\n")
        words = (*POINT, *corpus.judged, "--asr-judge-reference", listed)
        assert corpus.sweep(*words) == 0
        captured = capsys.readouterr().out
        assert ("its scores rank no system" in captured) == (errors > 10)
        assert float(corpus.rows()[0]["judge_WER"]) == errors
    assert "rank no system" in corpus.results()["findings"][0]


def test_rounds_of_the_refiner_are_lines_of_their_own(corpus: SpokenCorpus) -> None:
    assert Point(1, 500, 1, "decoder:2", 4).name == "L1_seg500_n1_decoder-k2_r4"
    assert Point(0, 500, 1, "ctc", 0).flags == ["--refine-steps", "0"]
    assert corpus.sweep(*POINT, *corpus.judged, "--refine-steps", 0, 4) == 0
    rows = corpus.rows()
    assert [row["refine_steps"] for row in rows] == ["0", "4"]
    assert [float(row["ASR_BLEU"]) == 100 for row in rows] == [False, True]
    assert rows[0]["p_vs_refine0"] == "" and 0 < float(rows[1]["p_vs_refine0"]) < 0.5
    picture = (corpus.output / "curve.svg").read_text()
    assert "ctc, K = 0" in picture and "ctc, K = 4" in picture


REFUSED = {
    "a judge of text": (("--task", "s2tt", "--asr-judge", "command:a"), "`--asr-judge` needs"),
    "no judge": (("--asr-normalizer", "none"), "--asr-normalizer needs --asr-judge."),
    "not a judge": (("--asr-judge", "ears"), "must be whisper:FOLDER or command:CMD"),
    "no reference speech": (
        ("--asr-judge", "command:a", "--asr-judge-reference", "nowhere"),
        "--asr-judge-reference must be a folder or a list, but nowhere does not exist.",
    ),
    "a refiner of text": (("--task", "s2tt", "--refine-steps", 4), "`--refine-steps` needs"),
    "characters": (("--", "--eval-latency-unit", "char"), "must be word with `--task s2st`"),
    "steps twice": (("--refine-steps", 4, "--", "--refine-steps", 2), "the sweep sets it"),
}


@pytest.mark.parametrize(("flags", "message"), REFUSED.values(), ids=REFUSED)
def test_flags_that_do_not_fit_are_refused_before_anything_is_started(
    corpus: SpokenCorpus, capsys: Capture, flags: tuple[str, ...], message: str
) -> None:
    assert corpus.sweep(*flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not corpus.output.exists()


def test_rounds_of_a_refiner_that_the_model_does_not_have_are_refused(
    corpus: SpokenCorpus, capsys: Capture
) -> None:
    model = make_model_folder(corpus.folder / "model")
    assert main(corpus.words("--model-path", model, "--refine-steps", 0, 4)) == 2
    message = f"`--refine-steps` must be 0 for {model}, which has no refiner, but is 4 instead."
    assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["--refine-steps", "9"], None)
    assert "must be at most 8, but is 9 instead" in capsys.readouterr().err


def test_each_task_has_an_output_folder_of_its_own() -> None:
    outputs = [parse(["--task", task], None).output for task in ("s2tt", "s2st")]
    assert outputs == [Path("out/demo"), Path("out/demo-s2st")]


@pytest.mark.slow
def test_the_shipped_agent_speaks(tmp_path: Path) -> None:
    """From a model folder that speaks and refines and audio to the curve, with random weights."""
    corpus = SpokenCorpus(tmp_path, half_seconds=(5, 7, 6))
    for index, wav in enumerate(corpus.wavs):
        soundfile.write(wav, babble(3.3 - 0.5 * index, seed=index), 16000)
    model = make_speaking_folder(tmp_path / "model")
    words = corpus.words("--model-path", model, "--max-future-frames", 0, "--segment-sizes", 320)
    words = [word for word in words if word not in ("--agent", str(corpus.agent))]
    flags = ["--decoding-methods", "ctc", "--refine-steps", "2", *corpus.judged]
    assert main([*words, *flags]) == 0
    assert corpus.results()["agent"] == "echostream.agents.SpeechToSpeechTranslationAgent"
    (row,), (folder,) = corpus.rows(), folders(corpus)
    spoken = logged(folder)
    assert [line["index"] for line in spoken] == [0, 1, 2]
    assert all(sum(line["durations"]) > 20 for line in spoken)
    assert corpus.num_transcribed() == 3
    assert float(row["ASR_WER"]) > 0 and float(row["BacklogEndMax"]) > 0
