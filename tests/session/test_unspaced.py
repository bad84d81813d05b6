"""A language without spaces, by the character: session, batch, agents, simuleval, score, curve."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from agent_calls import S2TT, arguments, read_scores, run_command
from tiny_training import utterance
from toy_char import NUM_UTTERANCES, train_unspaced, unspaced

from echostream import Model, StreamBatch, StreamingTranslator, load_model
from echostream.agents import SpeechToTextTranslationAgent
from echostream.cli import main as echostream
from echostream.evaluation.curve import main as latency_curve
from echostream.evaluation.long_form import load
from echostream.evaluation.long_form import translate as in_pushes
from echostream.session.stream import Output, joined_text

pytestmark = pytest.mark.slow  # the file as a whole

TARGETS = [unspaced(utterance(index).target) for index in range(NUM_UTTERANCES)]
CHAR = ("--eval-latency-unit", "char", "--sacrebleu-tokenizer", "char")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_unspaced(tmp_path_factory.mktemp("unspaced"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder)


@pytest.fixture(scope="module")
def recordings(folder: Path) -> list[Path]:
    return [folder.parents[1] / f"u{index}.flac" for index in range(NUM_UTTERANCES)]


def translate(session: StreamingTranslator, path: Path, segment_ms: int) -> list[Output]:
    samples, rate = soundfile.read(path, dtype="float32")
    session.reset()
    outputs, size = [], rate * segment_ms // 1000
    for start in range(0, len(samples), size):
        outputs += session.push(samples[start : start + size], rate)
    return outputs + session.finish()


@pytest.mark.parametrize("segment_ms", [10, 320, 5000])
def test_characters_come_before_the_source_ends_and_are_those_of_any_segments(
    model: Model, recordings: list[Path], segment_ms: int
) -> None:
    session = StreamingTranslator(model)
    assert session.emission_unit == "char"
    for path, target in zip(recordings, TARGETS, strict=True):
        outputs = translate(session, path, segment_ms)
        assert joined_text(outputs) == target
        assert segment_ms == 5000 or not outputs[0].final


def test_by_the_word_a_sentence_without_spaces_waits_for_its_end(
    model: Model, recordings: list[Path]
) -> None:
    outputs = translate(StreamingTranslator(model, emission_unit="word"), recordings[0], 320)
    assert [(output.text, output.final) for output in outputs] == [(TARGETS[0], True)]


def test_a_batch_gives_out_what_a_session_does(model: Model, recordings: list[Path]) -> None:
    batch = StreamBatch(model, NUM_UTTERANCES)
    found: dict[int, list[Output]] = {}
    for path in recordings:
        found[stream := batch.join()] = []
        batch.push(stream, *soundfile.read(path, dtype="float32"))
        batch.finish(stream)
    while batch.ready:
        for stream, outputs in batch.step().items():
            found[stream] += outputs
    assert [joined_text(outputs) for outputs in found.values()] == TARGETS


def test_a_long_form_text_has_no_spaces_between_outputs(
    model: Model, recordings: list[Path]
) -> None:
    session = StreamingTranslator(model)
    assert [in_pushes(session, load(path)) for path in recordings] == TARGETS


def test_the_source_keeps_its_own_unit(model: Model, recordings: list[Path]) -> None:
    session = StreamingTranslator(model, task="asr")
    assert session.emission_unit == "word"
    assert joined_text(translate(session, recordings[0], 320)) == utterance(0).source


def test_another_unit_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="`emission_unit` must be one of auto, word, char"):
        StreamingTranslator(model, emission_unit="spm")


def average_lagging(delays: list[float], source_ms: float, num_reference: int) -> float:
    """Ma et al. 2019: by hand, one loop."""
    rate, total, number = source_ms / num_reference, 0.0, 0
    for index, delay in enumerate(delays):
        total, number = total + delay - index * rate, number + 1
        if delay >= source_ms:
            break
    return total / number


def test_simuleval_score_and_the_formula_count_characters_alike(
    folder: Path, recordings: list[Path], tmp_path: Path
) -> None:
    flags = (*S2TT, "--model-path", str(folder), *CHAR, "--extra-output-dir", "extra")
    log, _ = run_command(tmp_path, recordings, *flags, references=TARGETS)
    assert [line["prediction"] for line in log] == TARGETS
    early = [line["delays"][0] < line["source_length"] for line in log]
    assert sum(early) >= NUM_UTTERANCES - 1
    session = StreamingTranslator(load_model(folder))
    for line, path in zip(log, recordings, strict=True):
        outputs = translate(session, path, 320)
        assert line["delays"] == [o.delay_ms for o in outputs for _ in o.text]
    expected = np.mean([average_lagging(line["delays"], line["source_length"], 4) for line in log])
    scores = read_scores(tmp_path)
    assert float(scores["AL"]) == pytest.approx(expected, abs=1e-3)
    assert float(scores["BLEU"]) == 100
    assert (tmp_path / "extra" / "st.txt").read_text(encoding="utf-8").splitlines() == TARGETS
    assert echostream(["score", str(tmp_path / "out")]) == 0
    run = json.loads((tmp_path / "out" / "echostream_scores.json").read_text(encoding="utf-8"))
    assert run["characters"]["AL"] == pytest.approx(expected, abs=1e-6)


def test_the_curve_takes_the_flags_of_a_language_without_spaces(
    folder: Path, recordings: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "source.txt").write_text("".join(f"{path}\n" for path in recordings))
    (tmp_path / "target.txt").write_text("".join(f"{t}\n" for t in TARGETS), encoding="utf-8")
    lists = ["--source", str(tmp_path / "source.txt"), "--target", str(tmp_path / "target.txt")]
    points = ["--max-future-frames", "0", "--segment-sizes", "320"]
    output = ["--output", str(tmp_path / "out")]
    assert latency_curve(["--model-path", str(folder), *lists, *points, *output, "--", *CHAR]) == 0
    rows = (tmp_path / "out" / "results.tsv").read_text(encoding="utf-8").splitlines()
    row = dict(zip(rows[0].split("\t"), rows[1].split("\t"), strict=True))
    assert float(row["BLEU"]) == 100 and float(row["AL"]) < 1000


def test_an_agent_refuses_to_write_characters_where_simuleval_would_part_them(
    folder: Path,
) -> None:
    args = arguments(folder)
    args.eval_latency_unit = "word"
    with pytest.raises(ValueError, match="`--eval-latency-unit` must be char"):
        SpeechToTextTranslationAgent(args)
    args.emission_unit = "word"
    assert SpeechToTextTranslationAgent(args).text_output("a b") == "a b"


def test_an_agent_warns_of_spaces_that_simuleval_takes_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = arguments(folder, "--emission-unit", "word")
    args.eval_latency_unit = "char"
    SpeechToTextTranslationAgent(args)
    assert "removes the spaces of predictions" in caplog.text
