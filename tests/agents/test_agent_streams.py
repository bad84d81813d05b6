"""What callers of an agent rely on: devices, independent streams and sample rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from agent_calls import ROOT, arguments, segments, text_of
from simuleval.data.segments import EmptySegment, Segment, SpeechSegment
from tiny_model import SAMPLE_RATE, babble

from echostream.agents import SpeechToTextTranslationAgent, StreamingASRAgent
from echostream.frontend.audio import read_audio
from echostream.model_folder import load_model
from echostream.scoring.metrics.wer import word_error_rate
from echostream.session.translator import StreamingTranslator

EXAMPLES = ROOT / "examples" / "fr-en"


@pytest.fixture
def agent(folder: Path) -> SpeechToTextTranslationAgent:
    return SpeechToTextTranslationAgent.from_args(arguments(folder))


def warnings_about(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if word in record.getMessage()]


@pytest.mark.parametrize("device", ["cpu", "gpu", "cuda", "cuda:0"])
def test_every_name_of_a_device_works_and_the_cpu_is_logged_once(
    device: str,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    sent = segments(babble(2, 50))
    plain = SpeechToTextTranslationAgent.from_args(arguments(folder))
    expected = [plain.pushpop(segment).content for segment in sent]
    args = arguments(folder)
    args.device = device  # as SimulEval's namespace has it
    agent = SpeechToTextTranslationAgent.from_args(args)
    agent.to(device, fp16=False)  # PyPI and HEAD
    agent.to(device)  # StreamSpeech's copy
    assert [agent.pushpop(segment).content for segment in sent] == expected
    assert agent.device == "cpu"
    assert len(warnings_about(caplog, "`device`")) == (device != "cpu")


def test_a_device_that_does_not_exist_and_fp16_are_not_taken_in_silence(
    folder: Path, agent: SpeechToTextTranslationAgent, caplog: pytest.LogCaptureFixture
) -> None:
    args = arguments(folder)
    args.device = "abacus"
    with pytest.raises(ValueError, match="`device` must be cpu, cuda, cuda:N or gpu, but is 'aba"):
        SpeechToTextTranslationAgent.from_args(args)
    agent.to("cpu", fp16=True)
    assert warnings_about(caplog, "fp16") == [
        "fp16 was requested, but EchoStream computes in float32."
    ]


def test_reset_works_before_init_has_finished(folder: Path) -> None:
    before: list[bool] = []

    class Watched(SpeechToTextTranslationAgent):
        def reset(self) -> None:
            super().reset()
            before.append(not hasattr(self, "ready"))

        def __init__(self, args: Any) -> None:
            super().__init__(args)
            self.ready = True

    watched = Watched.from_args(arguments(folder))
    assert before == [True]  # SimulEval's constructor does it
    watched.reset()
    assert before == [True, False]


SOURCES = {
    "babble": babble(2, 40),
    "shorter than a window": babble(0.005, 41),
    "one sample": np.ones(1, np.float32),
    "silence": np.zeros(30_000, np.float32),
    "ends with a segment": babble(1.6, 42),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_end_of_the_source_is_always_answered_with_finished(
    kind: str, agent: SpeechToTextTranslationAgent
) -> None:
    for segment in segments(SOURCES[kind]):
        answer = agent.pushpop(segment)
    assert answer.finished
    assert agent.pop().finished


@pytest.mark.parametrize(
    "segment",
    [
        EmptySegment(finished=True),
        SpeechSegment(content=[], sample_rate=SAMPLE_RATE, finished=True, tgt_lang=None),
        SpeechSegment(content=[], finished=True),
    ],
    ids=["empty", "no samples", "no samples and no rate"],
)
def test_a_source_without_a_sample_is_finished_with_nothing(
    segment: Segment, agent: SpeechToTextTranslationAgent
) -> None:
    answer = agent.pushpop(segment)
    assert answer.finished
    assert not answer.content


@pytest.mark.parametrize("kind", SOURCES)
def test_finished_is_never_returned_before_the_source_ends(
    kind: str, agent: SpeechToTextTranslationAgent
) -> None:
    *before, last = segments(SOURCES[kind])
    for segment in before:
        assert not agent.pushpop(segment).finished
        assert not agent.pop().finished
        assert not agent.states.target_finished
    last.finished = False  # the source may go on
    assert not agent.pushpop(last).finished


def test_a_reset_leaves_no_residue(agent: SpeechToTextTranslationAgent) -> None:
    sent = segments(babble(3, 47))
    expected = [agent.pushpop(segment).content for segment in sent]
    agent.reset()
    other = segments(babble(3, 48, 44_100), 44_100)[:-1]  # broken off
    assert text_of([agent.pushpop(segment) for segment in other])
    agent.reset()
    for segment in other:
        agent.push(segment)  # its words are never popped
    agent.reset()
    assert [agent.pushpop(segment).content for segment in sent] == expected


def test_the_utterance_before_does_not_matter(agent: SpeechToTextTranslationAgent) -> None:
    sources = [babble(2.1, 60), babble(0.005, 61), babble(1.7, 62, 44_100), babble(1, 63)]
    rates = [SAMPLE_RATE, SAMPLE_RATE, 44_100, SAMPLE_RATE]

    def translate(index: int) -> list[str]:
        agent.reset()
        answers = map(agent.pushpop, segments(sources[index], rates[index]))
        return [str(answer.content) for answer in answers]

    alone = [translate(index) for index in range(4)]
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        assert [translate(index) for index in order] == [alone[index] for index in order]


@pytest.mark.parametrize("look_ahead", [0, 1])
def test_one_segment_of_the_whole_gives_the_offline_translation(
    look_ahead: int, folder: Path
) -> None:
    flags = ("--max-future-frames", str(look_ahead))
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder, *flags))
    samples = babble(3.3, 64)
    session = StreamingTranslator(load_model(folder), max_future_frames=look_ahead)
    offline = [*session.push(samples, SAMPLE_RATE), *session.finish()]
    whole = SpeechSegment(
        content=samples.tolist(), sample_rate=SAMPLE_RATE, finished=True, tgt_lang=None
    )
    text = agent.pushpop(whole).content
    assert text == " ".join(output.text for output in offline) != ""
    agent.reset()
    assert text_of([agent.pushpop(segment) for segment in segments(samples)]) == text


def test_no_sample_is_kept(agent: SpeechToTextTranslationAgent) -> None:
    for segment in segments(babble(3, 65)):
        content = list(segment.content)
        agent.pushpop(segment)
        assert agent.states.source == agent.states.target == []
        assert segment.content == content


def test_several_segments_may_come_between_two_policy_calls(folder: Path) -> None:
    agent = StreamingASRAgent.from_args(arguments(folder))
    sent = segments(babble(3, 43))
    one_by_one = text_of([agent.pushpop(segment) for segment in sent])
    agent.reset()
    for segment in sent:
        agent.push(segment)
    answer = agent.pop()
    assert answer.content == one_by_one != ""
    assert answer.finished


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_the_rate_of_the_segments_is_the_rate_of_the_audio(rate: int) -> None:
    """On the shipped model, because random weights make words of the least difference."""
    # A --sample-rate that would be wrong for each of them: it does not count here.
    args = arguments(ROOT / "models" / "fr-en-demo", "--sample-rate", "11025")
    agent = SpeechToTextTranslationAgent.from_args(args)
    by_rate: dict[int, list[str]] = {SAMPLE_RATE: [], rate: []}
    for index in range(4):
        samples, own_rate = read_audio(EXAMPLES / f"test-seen-2026-000000{index}.flac")
        for wanted, texts in by_rate.items():
            agent.reset()
            sent = segments(soxr.resample(samples, own_rate, wanted).astype(np.float32), wanted)
            texts.append(text_of([agent.pushpop(segment) for segment in sent]))
            assert agent.states.source_sample_rate == wanted
    assert word_error_rate(by_rate[SAMPLE_RATE], by_rate[rate]) <= 5  # percent
    assert all(by_rate[SAMPLE_RATE])


@pytest.mark.parametrize("no_rate", [0, -1])
def test_audio_without_a_rate_has_that_of_the_flag_which_is_logged_once(
    no_rate: int, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    agent = StreamingASRAgent.from_args(arguments(folder, "--sample-rate", "8000"))
    sent = segments(babble(3, 66, 8000), 8000)
    expected = [agent.pushpop(segment).content for segment in sent]
    assert not warnings_about(caplog, "sample rate")
    for _ in range(2):
        agent.reset()
        for segment in sent:
            segment.sample_rate = no_rate
        assert [agent.pushpop(segment).content for segment in sent] == expected
    assert warnings_about(caplog, "sample rate") == [
        "The audio has no sample rate: 8000 Hz is assumed (`--sample-rate`)."
    ]


def test_stereo_is_averaged(folder: Path) -> None:
    agent = StreamingASRAgent.from_args(arguments(folder))
    mono = segments(babble(2, 49))
    expected = [agent.pushpop(segment).content for segment in mono]
    agent.reset()
    for segment in mono:
        segment.content = [[2 * sample, 0.0] for sample in segment.content]
    assert [agent.pushpop(segment).content for segment in mono] == expected


def test_an_empty_segment_may_come_first_or_end_the_source(folder: Path) -> None:
    agent = StreamingASRAgent.from_args(arguments(folder))
    sent = segments(babble(2, 44))
    expected = text_of([agent.pushpop(segment) for segment in sent])
    agent.reset()
    assert agent.states.source_sample_rate == 0
    assert agent.pushpop(EmptySegment()).is_empty  # before any sample rate is known
    sent[-1].finished = False
    answers = [agent.pushpop(segment) for segment in sent]
    assert not any(answer.finished for answer in answers)
    assert agent.states.source_sample_rate == SAMPLE_RATE
    answers.append(agent.pushpop(EmptySegment(finished=True)))
    assert answers[-1].finished
    assert text_of(answers) == expected
