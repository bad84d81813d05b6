"""The agents under the real SimulEval, and in the hands of callers that drive them otherwise."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from agent_calls import (
    ASR,
    ROOT,
    S2TT,
    SEGMENT_MS,
    arguments,
    by_session,
    run_command,
    run_here,
    segments,
    text_of,
)
from simuleval.data.segments import EmptySegment, TextSegment
from simulstream.server.speech_processors.simuleval_wrapper import SimulEvalWrapper
from tiny_model import SAMPLE_RATE, babble

from echostream.agents import SpeechToTextTranslationAgent, StreamingASRAgent


def test_the_command_line_translates_a_list_of_recordings(
    folder: Path, recordings: list[Path], tmp_path: Path
) -> None:
    instances, process = run_command(
        tmp_path,
        recordings,
        *("--agent", str(ROOT / "agents" / "s2tt.py"), "--model-path", str(folder)),
        *("--max-future-frames", "1", "--stride-n", "2", "--device", "gpu"),
        *("--extra-output-dir", "deep/extra", "--quality-metrics", "BLEU"),
    )
    assert [instance["index"] for instance in instances] == [0, 1, 2, 3]
    num_words = 0
    for instance, path in zip(instances, recordings, strict=True):
        words, delays = by_session(folder, path, max_future_frames=1, stride_n=2)
        assert instance["prediction"] == " ".join(words)
        assert instance["delays"] == pytest.approx(delays)
        num_words += len(words)
    assert num_words > 10
    # Whole words that came in time, not everything at the end.
    assert min(instances[0]["delays"]) < instances[0]["source_length"]
    # Only SimulEval's table of results goes to standard output.
    assert set(process.stdout.split()[:3]) == {"BLEU", "AL", "LAAL"}
    assert len(process.stdout.strip().splitlines()) == 2

    transcripts = [
        " ".join(by_session(folder, path, max_future_frames=1, task="asr")[0])
        for path in recordings
    ]
    assert (tmp_path / "deep" / "extra" / "asr.txt").read_text().splitlines() == transcripts


def test_the_recognition_agent_writes_source_words(
    folder: Path, recordings: list[Path], tmp_path: Path
) -> None:
    agent = ("--agent", str(ROOT / "agents" / "asr.py"))
    flags = ("--model-path", str(folder), "--extra-output-dir", "extra")
    instances, _ = run_command(tmp_path, recordings[:2], *agent, *flags)
    for instance, path in zip(instances, recordings[:2], strict=True):
        assert instance["prediction"] == " ".join(by_session(folder, path, task="asr")[0]) != ""
    assert [file.name for file in (tmp_path / "extra").iterdir()] == ["asr.txt"]


@pytest.mark.parametrize("agent", [S2TT, ASR])
def test_one_recording_alone_is_translated_as_it_is_in_a_list(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    folder: Path,
    recordings: list[Path],
    agent: tuple[str, str],
) -> None:
    flags = (*agent, "--model-path", str(folder))
    listed = run_here(monkeypatch, tmp_path / "list", recordings, *flags)
    for index, path in enumerate(recordings):
        (alone,) = run_here(monkeypatch, tmp_path / str(index), [path], *flags)
        assert alone["prediction"] == listed[index]["prediction"]
        assert alone["delays"] == listed[index]["delays"]
    assert listed[3]["prediction"] != ""


def test_the_transcripts_are_appended_to(folder: Path, tmp_path: Path) -> None:
    flags = ("--extra-output-dir", str(tmp_path / "extra"))
    for _ in range(2):  # two runs into the same folder
        agent = SpeechToTextTranslationAgent.from_args(arguments(folder, *flags))
        for _ in range(2):
            agent.push(EmptySegment(finished=True))
            agent.pop()
            agent.reset()
    for name in ("asr.txt", "st.txt"):
        assert (tmp_path / "extra" / name).read_text() == "\n" * 4


def test_a_segment_that_is_not_speech_is_refused(folder: Path) -> None:
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    with pytest.raises(TypeError, match="`segment` must be speech, but is a TextSegment"):
        agent.push(TextSegment(content="bonjour"))


def test_flags_are_passed_to_the_session(folder: Path) -> None:
    flags = ("--lagging-k1", "1000", "--max-future-frames", "2")
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder, *flags))
    assert agent.states.session.max_future_frames == 2
    answers = [agent.pushpop(segment).content for segment in segments(babble(3, 51))]
    assert not any(answers[:-1])
    assert answers[-1]
    with pytest.raises(ValueError, match="`lagging_k2` must be an integer >= 0, but is -1"):
        SpeechToTextTranslationAgent.from_args(arguments(folder, "--lagging-k2", "-1"))


def test_a_decoder_is_required_only_for_translation(folder: Path) -> None:
    decoder = ("--decoding-method", "decoder")
    with pytest.raises(ValueError, match="method"):  # this model has none
        SpeechToTextTranslationAgent.from_args(arguments(folder, *decoder))
    for flags in (decoder, (*decoder, "--policy", "wait-k:3")):
        StreamingASRAgent.from_args(arguments(folder, *flags))  # there is nothing it could write


def test_the_old_name_of_an_option_is_understood_from_callers_without_a_command_line(
    folder: Path,
) -> None:
    with pytest.raises(ValueError, match="must be ctc for this model, which has no text decoder"):
        SpeechToTextTranslationAgent(Namespace(model_path=str(folder), writer="decoder"))


def test_the_default_look_ahead_is_the_smallest_of_the_model(folder: Path) -> None:
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    assert agent.states.session.max_future_frames == 0


# Callers that drive an agent without SimulEval's evaluator


def test_all_flags_but_the_model_are_optional(folder: Path) -> None:
    sent = segments(babble(2, 52))
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    expected = [agent.pushpop(segment).content for segment in sent]
    bare = SimpleNamespace(model_path=str(folder), device="cpu")
    agent = SpeechToTextTranslationAgent(bare)  # type: ignore[arg-type]
    assert [agent.pushpop(segment).content for segment in sent] == expected
    assert vars(bare) == {"model_path": str(folder), "device": "cpu"}
    assert agent.tgt_lang is None
    with pytest.raises(ValueError, match="`model_path` must be given"):
        SpeechToTextTranslationAgent(Namespace())


@pytest.mark.parametrize("kind", [SpeechToTextTranslationAgent, StreamingASRAgent])
def test_simulstreams_wrapper_gives_the_text_of_simuleval(
    kind: type[SpeechToTextTranslationAgent], folder: Path
) -> None:
    agent = kind(arguments(folder))
    wrapper = SimulEvalWrapper(
        SimpleNamespace(
            simuleval_agent=f"echostream.agents.{kind.__name__}",
            speech_chunk_size=SEGMENT_MS / 1000,
            latency_unit="word",
            detokenizer_type="simuleval",
            model_path=str(folder),
        )
    )
    wrapper.set_target_language("en")
    for seed in (53, 54):
        samples = babble(2.5, seed)
        agent.reset()
        text = text_of([agent.pushpop(segment) for segment in segments(samples)])
        size = SAMPLE_RATE * SEGMENT_MS // 1000
        outputs = [
            wrapper.process_chunk(samples[start : start + size])
            for start in range(0, len(samples), size)
        ]
        outputs.append(wrapper.end_of_stream())
        assert [token for output in outputs for token in output.new_tokens] == text.split() != []
        wrapper.clear()


class WatchedSource(list[float]):
    """Counts the samples that are read."""

    num_read = 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        found = super().__getitem__(index)
        self.num_read += len(found) if isinstance(found, list) else 1
        return found


@pytest.mark.parametrize("how", ["longer and longer lists", "one list that grows", "emptied"])
def test_a_caller_may_write_the_source_itself_and_each_sample_is_read_once(
    how: str, folder: Path
) -> None:
    """As StreamSpeech's demo does: no segment, `policy()` until the target is finished."""
    samples, rate = babble(3, 55, 48_000).tolist(), 48_000
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    size = rate * SEGMENT_MS // 1000
    sent = segments(np.array(samples, np.float32), rate)
    expected = text_of([agent.pushpop(segment) for segment in sent])
    agent.reset()
    source = agent.states.source = WatchedSource()
    written, policy_calls = [], 0
    while not agent.states.target_finished:
        policy_calls += 1
        if how == "longer and longer lists":
            agent.states.source = samples[: policy_calls * size]
        elif how == "one list that grows":
            source += samples[len(source) :][:size]
        else:
            agent.states.source = samples[(policy_calls - 1) * size :][:size]
        before = list(agent.states.source)
        agent.states.source_sample_rate = rate
        agent.states.source_finished = policy_calls * size >= len(samples)
        action = agent.policy()
        written += [] if action.is_read() else [action.content]
        assert agent.states.source == before
        if how == "emptied":
            agent.states.source = []
            assert agent.policy().is_read() is not agent.states.source_finished
        elif how == "one list that grows":
            assert source.num_read == len(source)
    assert " ".join(filter(None, written)) == expected != ""
    assert policy_calls == len(sent)


def test_a_source_that_lost_samples_is_refused(folder: Path) -> None:
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    agent.states.source_sample_rate = SAMPLE_RATE
    agent.states.source = [0.0] * 200
    agent.policy()
    agent.states.source = [0.0] * 100
    with pytest.raises(ValueError, match=r"must keep the 200 samples .* but has 100 instead"):
        agent.policy()
