"""Text without spaces on every way out: simulstream, all builds and units of SimulEval, others."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import yaml
from agent_calls import S2TT, join_like_streamspeech, run_command, run_here
from tiny_training import SAMPLE_RATE, utterance
from toy_char import NUM_UTTERANCES
from toy_char import unspaced as without_spaces

from echostream.agents import SpeechToTextTranslationAgent
from echostream.model_folder import load_model
from echostream.session.translator import StreamingTranslator, joined_source_text, joined_text
from echostream.simulstream import EchoStreamProcessor

SOURCES = [utterance(index).source for index in range(NUM_UTTERANCES)]
TARGETS = [without_spaces(utterance(index).target) for index in range(NUM_UTTERANCES)]
SEGMENT = 5120  # samples: 320 ms
CHAR = ("--eval-latency-unit", "char", "--sacrebleu-tokenizer", "char")


@pytest.fixture
def recordings(unspaced: Path) -> list[Path]:
    return [unspaced.parents[1] / f"u{index}.flac" for index in range(NUM_UTTERANCES)]


def read(path: Path) -> np.ndarray:  # type: ignore[type-arg]
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == SAMPLE_RATE
    return samples


def test_each_text_of_an_output_has_the_unit_of_its_language(
    unspaced: Path, recordings: list[Path]
) -> None:
    session = StreamingTranslator.load(unspaced, transcript=True)
    for path, source, target in zip(recordings, SOURCES, TARGETS, strict=True):
        session.reset()
        outputs = session.push(read(path), SAMPLE_RATE) + session.finish()
        assert {(output.unit, output.source_unit) for output in outputs} == {("char", "word")}
        assert joined_text(outputs) == target
        assert len(joined_source_text(outputs).split()) >= len(source.split()) - 1


def test_the_readme_of_the_model_names_the_unit_of_its_scores(unspaced: Path) -> None:
    assert "| BLEU of characters | WER |" in (unspaced / "README.md").read_text(encoding="utf-8")


def test_simulstream_gets_characters_as_tokens(unspaced: Path, recordings: list[Path]) -> None:
    keys = {
        "type": "echostream.simulstream.EchoStreamProcessor",
        "speech_chunk_size": SEGMENT / SAMPLE_RATE,
        "model_path": str(unspaced),
    }
    with pytest.raises(ValueError, match="`latency_unit` must be 'char', the emission unit"):
        EchoStreamProcessor.load_model(SimpleNamespace(**keys))
    config = SimpleNamespace(**keys, latency_unit="char")
    EchoStreamProcessor.load_model(config)
    processor = EchoStreamProcessor(config)
    for path, target in zip(recordings, TARGETS, strict=True):
        samples = read(path)
        pieces = np.split(samples, range(SEGMENT, len(samples), SEGMENT))
        found = [*map(processor.process_chunk, pieces), processor.end_of_stream()]
        assert [token for output in found for token in output.new_tokens] == list(target)
        assert "".join(output.new_string for output in found) == target
        assert any(output.new_tokens for output in found[:-1])


def test_every_build_and_unit_of_simuleval_makes_the_same_text_of_it(
    unspaced: Path, recordings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = (*S2TT, "--model-path", str(unspaced))
    spm = ("--eval-latency-spm-model", str(unspaced / "spm_tgt.model"))

    def texts(name: str, *flags: str) -> list[str]:
        entries = run_here(
            monkeypatch, tmp_path / name, recordings, *model, *flags, references=TARGETS
        )
        return [entry["prediction"] for entry in entries]

    assert texts("spm", "--eval-latency-unit", "spm", *spm) == TARGETS
    with monkeypatch.context() as patch:
        join_like_streamspeech(patch)
        assert texts("streamspeech", *CHAR) == TARGETS
    assert texts("word", "--emission-unit", "word") == TARGETS


def test_characters_that_simuleval_would_count_as_words_are_refused(
    unspaced: Path, recordings: list[Path], tmp_path: Path
) -> None:
    flags = (*S2TT, "--model-path", str(unspaced))
    _, process = run_command(tmp_path, recordings[:1], *flags, ok=False)
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: `--eval-latency-unit` must be char (or spm) if the")


def test_a_system_folder_takes_the_unit_from_the_command_line(
    unspaced: Path, recordings: list[Path], tmp_path: Path
) -> None:
    system = ("--system-dir", str(unspaced))
    entries, _ = run_command(tmp_path, recordings[:2], *system, *CHAR, references=TARGETS[:2])
    assert [entry["prediction"] for entry in entries] == TARGETS[:2]
    (tmp_path / "other").mkdir()
    _, process = run_command(tmp_path / "other", recordings[:1], *system, ok=False)
    assert "`--eval-latency-unit` must be char (or spm)" in process.stderr


def test_words_that_simuleval_would_count_as_characters_are_warned_of(
    folder: Path, unspaced: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = SimpleNamespace(model_path=str(folder), eval_latency_unit="char")
    SpeechToTextTranslationAgent(args)  # type: ignore[arg-type]
    assert "removes the spaces of predictions" in caplog.text
    caplog.clear()
    args.model_path = str(unspaced)
    SpeechToTextTranslationAgent(args)  # type: ignore[arg-type]
    assert caplog.text == ""


def test_another_caller_of_the_agent_gets_the_text_as_it_comes(
    unspaced: Path, recordings: list[Path]
) -> None:
    agent = SpeechToTextTranslationAgent(SimpleNamespace(model_path=str(unspaced)))  # type: ignore[arg-type]
    samples = read(recordings[0])
    agent.states.source_sample_rate = SAMPLE_RATE
    written = ""
    for stop in range(SEGMENT, len(samples) + SEGMENT, SEGMENT):
        agent.states.source = samples[:stop].tolist()
        agent.states.source_finished = stop >= len(samples)
        written += getattr(agent.policy(), "content", "")
    assert written == TARGETS[0]


def test_a_config_without_the_keys_means_words_and_another_unit_is_refused(
    unspaced: Path, tmp_path: Path
) -> None:
    copy = Path(copytree(unspaced, tmp_path / "model"))
    values = yaml.safe_load((copy / "config.yaml").read_text())
    old = {key: value for key, value in values.items() if not key.endswith("_emission_unit")}
    (copy / "config.yaml").write_text(yaml.safe_dump(old))
    assert StreamingTranslator.load(copy).emission_unit == "word"
    (copy / "config.yaml").write_text(yaml.safe_dump(old | {"target_emission_unit": "letter"}))
    with pytest.raises(ValueError, match="`target_emission_unit` must be one of word, char, but"):
        load_model(copy)
    with pytest.raises(ValueError, match="`emission_unit` must be one of auto, word, char, but"):
        StreamingTranslator.load(unspaced, emission_unit="letter")
