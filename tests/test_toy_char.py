"""A language without spaces, from training to SimulEval: characters come before the source ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import yaml
from agent_calls import S2TT, join_like_streamspeech, read_scores, run_command, run_here
from toy_char import SEGMENT_MS, Toy

from echostream.agents import SpeechToTextTranslationAgent
from echostream.model_folder import load_model
from echostream.simulstream import EchoStreamProcessor
from echostream.stream_batch import StreamBatch
from echostream.translator import Output, StreamingTranslator, joined_source_text, joined_text

RATE = 16_000


def run(session: StreamingTranslator, path: Path, segment_ms: float = SEGMENT_MS) -> list[Output]:
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    size = round(segment_ms * rate / 1000)
    session.reset()
    outputs = []
    for start in range(0, len(samples), size):
        outputs += session.push(samples[start : start + size], rate)
    return outputs + session.finish()


def test_the_model_says_that_its_target_is_given_out_by_the_character(toy: Toy) -> None:
    config = load_model(toy.model).config
    assert (config.source_emission_unit, config.target_emission_unit) == ("word", "char")
    session = StreamingTranslator.load(toy.model)
    assert session.emission_unit == "char"
    assert StreamingTranslator.load(toy.model, task="asr").emission_unit == "word"
    assert "| BLEU of characters | WER |" in (toy.model / "README.md").read_text()


@pytest.mark.parametrize("segment_ms", [10, 33.3, 160, SEGMENT_MS, 10_000])
def test_however_the_audio_is_cut_the_text_is_right_and_begins_before_the_source_ends(
    toy: Toy, segment_ms: float
) -> None:
    session = StreamingTranslator.load(toy.model, transcript=True)
    for path, source, target in zip(toy.recordings, toy.sources, toy.targets, strict=True):
        outputs = run(session, path, segment_ms)
        assert joined_text(outputs) == target
        assert joined_source_text(outputs) == source
        assert {(output.unit, output.source_unit) for output in outputs} == {("char", "word")}
        if segment_ms <= SEGMENT_MS:
            early = joined_text(output for output in outputs if not output.final)
            assert len(early) >= len(target) // 2


def test_by_the_word_the_sentence_waits_for_its_end_and_is_the_same(toy: Toy) -> None:
    session = StreamingTranslator.load(toy.model, emission_unit="word")
    for path, target in zip(toy.recordings, toy.targets, strict=True):
        assert [(o.text, o.final) for o in run(session, path)] == [(target, True)]


def test_a_batch_gives_out_what_a_session_does(toy: Toy) -> None:
    model = load_model(toy.model)
    session = StreamingTranslator(model)
    batch = StreamBatch(model, capacity=4)
    assert batch.emission_unit == "char"
    said: dict[int, list[Output]] = {}
    audio = {}
    for path in toy.recordings:
        name = batch.join()
        audio[name], said[name] = soundfile.read(path, dtype="float32")[0], []
    size = SEGMENT_MS * RATE // 1000
    while len(batch):
        for name in [name for name in audio if name in batch]:
            batch.push(name, audio[name][:size], RATE)
            audio[name] = audio[name][size:]
            if not len(audio[name]):
                batch.finish(name)
        for name, outputs in batch.step().items():
            said[name] += outputs
    for name, path in zip(said, toy.recordings, strict=True):
        assert said[name] == run(session, path)


def test_simulstream_gets_characters_as_tokens(toy: Toy) -> None:
    keys = {
        "type": "echostream.simulstream.EchoStreamProcessor",
        "speech_chunk_size": SEGMENT_MS / 1000,
        "model_path": str(toy.model),
    }
    with pytest.raises(ValueError, match="`latency_unit` must be 'char', by which the session"):
        EchoStreamProcessor.load_model(SimpleNamespace(**keys))
    config = SimpleNamespace(**keys, latency_unit="char")
    EchoStreamProcessor.load_model(config)
    processor = EchoStreamProcessor(config)
    for path, target in zip(toy.recordings, toy.targets, strict=True):
        samples, _ = soundfile.read(path, dtype="float32")
        pieces = np.split(samples, range(5120, len(samples), 5120))
        found = [*map(processor.process_chunk, pieces), processor.end_of_stream()]
        assert [token for output in found for token in output.new_tokens] == list(target)
        assert "".join(output.new_string for output in found) == target
        assert any(output.new_tokens for output in found[:-1])


def by_hand(entry: dict) -> dict[str, float]:  # type: ignore[type-arg]
    """The columns of one line of the log, from the definitions of the metrics."""
    delays, source = entry["delays"], entry["source_length"]
    count = len(entry["reference"])
    heard = [d for i, d in enumerate(delays) if i == 0 or delays[i - 1] < source]
    lag = [d - i * source / count for i, d in enumerate(heard)]
    adapted = [d - i * source / max(count, len(delays)) for i, d in enumerate(heard)]
    return {
        "AL": sum(lag) / len(lag),
        "LAAL": sum(adapted) / len(adapted),
        "AP": sum(delays) / (source * count),
        "StartOffset": delays[0],
        "EndOffset": delays[-1] - source,
    }


CHAR = ("--eval-latency-unit", "char", "--sacrebleu-tokenizer", "char")


def test_simuleval_counts_characters_and_its_columns_are_those_of_the_log(
    toy: Toy, tmp_path: Path
) -> None:
    metrics = ("AL", "LAAL", "AP", "StartOffset", "EndOffset")
    extra = ("--extra-output-dir", "extra")
    flags = (*S2TT, "--model-path", str(toy.model), *CHAR, *extra, "--latency-metrics", *metrics)
    entries, process = run_command(tmp_path, toy.recordings, *flags, references=toy.targets)
    session = StreamingTranslator.load(toy.model)
    for entry, path, target in zip(entries, toy.recordings, toy.targets, strict=True):
        assert entry["prediction"] == target
        wanted = [output.delay_ms for output in run(session, path) for _ in output.text]
        assert entry["delays"] == pytest.approx(wanted)
        assert entry["delays"][0] < entry["source_length"]
    scores = read_scores(tmp_path)
    for name in metrics:
        mean = np.mean([by_hand(entry)[name] for entry in entries])
        assert float(scores[name]) == pytest.approx(mean, abs=1e-3), name
    assert float(scores["BLEU"]) == pytest.approx(100)
    assert "is char" not in process.stderr  # no warning
    assert (tmp_path / "extra" / "st.txt").read_text().splitlines() == toy.targets
    assert (tmp_path / "extra" / "asr.txt").read_text().splitlines() == toy.sources


def test_every_build_and_unit_of_simuleval_makes_the_same_text_of_it(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = (*S2TT, "--model-path", str(toy.model))
    spm = ("--eval-latency-spm-model", str(toy.model / "spm_tgt.model"))

    def texts(name: str, *flags: str) -> list[str]:
        entries = run_here(
            monkeypatch, tmp_path / name, toy.recordings, *model, *flags, references=toy.targets
        )
        return [entry["prediction"] for entry in entries]

    assert texts("spm", "--eval-latency-unit", "spm", *spm) == toy.targets
    with monkeypatch.context() as patch:
        join_like_streamspeech(patch)
        assert texts("streamspeech", *CHAR) == toy.targets
    assert texts("word", "--emission-unit", "word") == toy.targets


def test_characters_that_simuleval_would_count_as_words_are_refused(
    toy: Toy, tmp_path: Path
) -> None:
    flags = (*S2TT, "--model-path", str(toy.model))
    _, process = run_command(tmp_path, toy.recordings[:1], *flags, ok=False)
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: `--eval-latency-unit` must be char (or spm) for text that")


def test_a_system_folder_is_told_the_unit_on_the_command_line(toy: Toy, tmp_path: Path) -> None:
    system = ("--system-dir", str(toy.model))
    entries, _ = run_command(
        tmp_path, toy.recordings[:2], *system, *CHAR, references=toy.targets[:2]
    )
    assert [entry["prediction"] for entry in entries] == toy.targets[:2]
    (tmp_path / "other").mkdir()
    _, process = run_command(tmp_path / "other", toy.recordings[:1], *system, ok=False)
    assert "`--eval-latency-unit` must be char (or spm)" in process.stderr


def test_words_that_simuleval_would_count_as_characters_are_warned_of(
    folder: Path, toy: Toy, caplog: pytest.LogCaptureFixture
) -> None:
    args = SimpleNamespace(model_path=str(folder), eval_latency_unit="char")
    SpeechToTextTranslationAgent(args)  # type: ignore[arg-type]
    assert "takes the spaces out of predictions" in caplog.text
    caplog.clear()
    args.model_path = str(toy.model)
    SpeechToTextTranslationAgent(args)  # type: ignore[arg-type]
    assert caplog.text == ""


def test_another_caller_of_the_agent_gets_the_text_as_it_comes(toy: Toy) -> None:
    agent = SpeechToTextTranslationAgent(SimpleNamespace(model_path=str(toy.model)))  # type: ignore[arg-type]
    samples, _ = soundfile.read(toy.recordings[0], dtype="float32")
    agent.states.source_sample_rate = RATE
    said = ""
    for stop in range(5120, len(samples) + 5120, 5120):
        agent.states.source = samples[:stop].tolist()
        agent.states.source_finished = stop >= len(samples)
        said += getattr(agent.policy(), "content", "")
    assert said == toy.targets[0]


def test_a_config_without_the_keys_means_words_and_another_unit_is_refused(
    toy: Toy, tmp_path: Path
) -> None:
    from shutil import copytree

    copy = Path(copytree(toy.model, tmp_path / "model"))
    values = yaml.safe_load((copy / "config.yaml").read_text())
    old = {key: value for key, value in values.items() if not key.endswith("_emission_unit")}
    (copy / "config.yaml").write_text(yaml.safe_dump(old))
    assert StreamingTranslator.load(copy).emission_unit == "word"
    (copy / "config.yaml").write_text(yaml.safe_dump(old | {"target_emission_unit": "letter"}))
    with pytest.raises(ValueError, match="`target_emission_unit` must be one of word, char, but"):
        load_model(copy)
    with pytest.raises(ValueError, match="`emission_unit` must be one of auto, word, char, but"):
        StreamingTranslator.load(toy.model, emission_unit="letter")
