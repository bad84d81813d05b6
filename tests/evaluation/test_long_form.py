"""Streams of several sentences: joined by one they are the sentences, by more they are one text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_model import SAMPLE_RATE, TARGET_TEXT, babble, make_model_folder

from echostream.cli import main as command
from echostream.evaluation.long_form import load, main, measure, translate
from echostream.model_folder import load_model
from echostream.session.translator import StreamingTranslator
from echostream.session_config import SessionConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with both methods, and two lists of five recordings."""
    path = make_model_folder(tmp_path_factory.mktemp("model"), decoder_layers=1)
    for index in range(5):
        soundfile.write(path / f"{index}.wav", babble(1.5, seed=index), SAMPLE_RATE)
    names = "".join(f"{path / str(index)}.wav\n" for index in range(5))
    (path / "wav_list.txt").write_text(names, encoding="utf-8")
    (path / "target.txt").write_text("\n".join(TARGET_TEXT) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("joined", [1, 2, 5, 9])
def test_a_stream_is_its_recordings_with_pauses_between(folder: Path, joined: int) -> None:
    model = load_model(folder)
    recordings = [babble(1.5, seed=index) for index in range(5)]
    result = measure(model, recordings, TARGET_TEXT, joined, "ctc", 1, pause_ms=250)
    session, num_words = StreamingTranslator(model, max_future_frames=1), 0
    for start in range(0, 5, joined):
        session.reset()
        parts: list[np.ndarray] = []
        for samples in recordings[start : start + joined]:
            parts += [np.zeros(4000 if parts else 0, np.float32), samples]
        outputs = session.push(np.concatenate(parts), SAMPLE_RATE) + session.finish()
        num_words += sum(len(output.text.split()) for output in outputs)
    assert result.num_streams == -(-5 // joined)
    assert result.length_ratio == num_words / sum(len(text.split()) for text in TARGET_TEXT)


def test_the_table_has_a_row_for_each_method_and_length(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = ["--source", str(folder / "wav_list.txt"), "--target", str(folder / "target.txt")]
    assert main(["--model-path", str(folder), *lists, "--joined", "1", "3"]) == 0
    rows = [line.split("|")[1:4] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["1", "5", "ctc"],
        ["1", "5", "decoder"],
        ["3", "2", "ctc"],
        ["3", "2", "decoder"],
    ]


def test_the_pause_that_ends_an_utterance_is_that_of_the_session(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = ["--source", str(folder / "wav_list.txt"), "--target", str(folder / "target.txt")]
    words = ["--model-path", str(folder), *lists, "--joined", "5", "--decoding-methods", "decoder"]
    recordings = [load(folder / f"{index}.wav") for index in range(5)]
    samples = np.concatenate([np.concatenate([np.zeros(6400, np.float32), r]) for r in recordings])
    ratios = set()
    for pause in (0, 160):
        assert main([*words, "--utterance-pause-ms", str(pause)]) == 0
        ratio = float(capsys.readouterr().out.splitlines()[-1].split("|")[5])
        config = SessionConfig(
            max_future_frames=0, decoding_method="decoder", utterance_pause_ms=pause
        )
        written = translate(StreamingTranslator(load_model(folder), config), samples[6400:])
        wanted = len(written.split()) / sum(len(text.split()) for text in TARGET_TEXT)
        assert ratio == pytest.approx(wanted, abs=5e-4)
        ratios.add(ratio)
    assert len(ratios) == 2


def test_a_language_without_spaces_is_measured_by_character(folder: Path) -> None:
    model = load_model(folder)
    recordings = [babble(1.5, seed=index) for index in range(2)]
    first = measure(model, recordings, TARGET_TEXT[:2], 1, "ctc", 0, 0)
    tight = [text.replace(" ", "") for text in TARGET_TEXT[:2]]
    spaced = measure(model, recordings, TARGET_TEXT[:2], 1, "ctc", 0, 0, "char")
    unspaced = measure(model, recordings, tight, 1, "ctc", 0, 0, "char")
    assert spaced == unspaced  # spaces are no characters
    assert first.length_ratio != spaced.length_ratio


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--joined", "0"), "must be at least 1, but is 0"),
        (("--joined", "1.5"), "must be a whole number, but is 1.5"),
        (("--pause-ms", "-1"), "must be at least 0, but is -1"),
        (("--utterance-pause-ms", "100"), "must be a multiple of 160, but is 100"),
        (("--sacrebleu-tokenizer", "moses"), "must be one of none, zh, 13a"),
    ],
)
def test_bad_arguments_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, str], message: str
) -> None:
    lists = ["--source", str(folder / "wav_list.txt"), "--target", str(folder / "target.txt")]
    try:
        status = main(["--model-path", str(folder), *lists, *flags])
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    assert status == 2 and message in capsys.readouterr().err


def test_a_method_that_the_model_lacks_is_named(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = make_model_folder(tmp_path / "plain")
    lists = ["--source", str(folder / "wav_list.txt"), "--target", str(folder / "target.txt")]
    assert main(["--model-path", str(plain), *lists, "--decoding-methods", "decoder"]) == 2
    assert "no text decoder" in capsys.readouterr().err


def test_logs_are_scored_by_segments(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("omnisteval")
    lists = ["--source", str(folder / "wav_list.txt"), "--target", str(folder / "target.txt")]
    words = ["--model-path", str(folder), *lists, "--joined", "2", "--decoding-methods", "ctc"]
    assert main([*words, "--output", str(tmp_path)]) == 0
    streams = tmp_path / "joined-2"
    files = ["--audio-yaml", str(streams / "audio.yaml")]
    files += ["--reference", str(streams / "reference.txt")]
    assert command(["score", "--longform", *files, str(streams / "ctc")]) == 0
    scores = json.loads((streams / "ctc" / "echostream_longform.json").read_text())
    assert scores["num_recordings"] == 3 and scores["num_segments"] == 5
    assert scores["long_yaal_ca"] > scores["long_yaal"] and scores["compute_rtf"] > 0
