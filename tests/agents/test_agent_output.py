"""Outputs of the agents that callers rely on: a line for each utterance, files, messages."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path

import pytest
import soundfile
from agent_calls import (
    ROOT,
    S2TT,
    arguments,
    read_log,
    read_scores,
    run_command,
    run_here,
    segments,
    text_of,
)
from simuleval.agents import AgentStates
from simuleval.agents.agent import GenericAgent
from simuleval.data.segments import EmptySegment, Segment, segment_from_json_string
from tiny_model import SAMPLE_RATE, babble
from torch import Tensor

from echostream.agents import SpeechToTextTranslationAgent, StreamingASRAgent
from echostream.models import EchoStreamModel
from echostream.models.echostream import ModelState
from echostream.scoring.score import Options, score_run

# The nine that StreamSpeech's scripts use.
METRICS = ("AL", "AP", "DAL", "StartOffset", "EndOffset", "LAAL", "ATD", "NumChunks", "RTF")


def test_an_utterance_without_output_counts_in_bleu_alone(
    folder: Path, recordings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, babble(0, 0), SAMPLE_RATE)
    names = [recordings[0], empty, recordings[1]]
    agent = (*S2TT, "--model-path", str(folder))
    # The predictions are the references, so that only the empty line can cost BLEU.
    predictions = [
        entry["prediction"] for entry in run_here(monkeypatch, tmp_path / "try", names, *agent)
    ]
    assert predictions[1] == ""
    runs = {}
    for name, texts in (
        ("with", [predictions[0], "it was silent", predictions[2]]),
        ("without", predictions[::2]),
    ):
        chosen = names if name == "with" else names[::2]
        log = run_here(monkeypatch, tmp_path / name, chosen, *agent, references=texts)
        assert len(log) == len(chosen)
        runs[name] = read_scores(tmp_path / name)
    assert float(runs["without"]["BLEU"]) == pytest.approx(100)
    assert 50 < float(runs["with"]["BLEU"]) < 99
    assert runs["with"]["AL"] == runs["without"]["AL"]


def test_each_utterance_has_exactly_one_line_in_the_order_of_the_indices(
    folder: Path, recordings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "empty.wav", babble(0, 0), SAMPLE_RATE)
    names = [recordings[0], tmp_path / "empty.wav", *recordings[1:]]
    flags = ("--model-path", str(folder), "--extra-output-dir", "deep/extra")
    log = run_here(monkeypatch, tmp_path / "run", names, *S2TT, *flags)
    extra = tmp_path / "run" / "deep" / "extra"  # was not there
    assert {file.name for file in extra.iterdir()} == {"asr.txt", "st.txt"}
    lines = (extra / "st.txt").read_text().splitlines()
    assert lines == [entry["prediction"] for entry in log]
    assert lines[1] == ""
    transcripts = (extra / "asr.txt").read_text().splitlines()
    assert [bool(line) for line in transcripts] == [True, False, True, True, True]


@pytest.mark.parametrize("moved", [False, True])
def test_the_agent_is_warmed_up_before_the_first_utterance(
    moved: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_groups = []
    step = EchoStreamModel.step

    def counted(network: EchoStreamModel, x: Tensor, state: ModelState, valid: Tensor) -> object:
        num_groups.append(x.shape[1] // 16)
        return step(network, x, state, valid)

    monkeypatch.setattr(EchoStreamModel, "step", counted)
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    assert sum(num_groups) > 8  # a second of sound, and what closes it
    if moved:
        num_groups.clear()
        agent.to("cpu:0")  # another name: it could be another device
        assert sum(num_groups) > 8
    assert agent.states.session.delay_ms == 0  # of the warm-up nothing is left


def test_nothing_is_printed_without_the_flag(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = SpeechToTextTranslationAgent.from_args(
        arguments(folder, "--extra-output-dir", str(tmp_path))
    )
    for segment in segments(babble(3, 67)):
        agent.pushpop(segment)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("task", ["st", "asr"])
def test_the_utterance_so_far_is_printed_whenever_a_word_is_new(
    task: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = SpeechToTextTranslationAgent if task == "st" else StreamingASRAgent
    agent = kind.from_args(arguments(folder, "--output-asr-translation", "True"))
    sent = segments(babble(3, 67), segment_ms=80)  # half of them complete no group
    silent = 0
    for _ in range(2):
        agent.reset()
        source, written = "", ""
        for segment in sent:
            before = source, written
            answer = agent.pushpop(segment)
            written = " ".join([written, answer.content] if answer.content else [written]).strip()
            source = agent.states.source_text if task == "st" else written
            expected = [f"Streaming ASR: {source}"] if source != before[0] else []
            if task == "st" and written != before[1]:
                expected.append(f"Simultaneous translation: {written}")
            assert capsys.readouterr().out.splitlines() == expected
            silent += not expected
        assert source and written
    assert silent > len(sent) // 2


def test_a_pop_without_new_input_writes_nothing(folder: Path, tmp_path: Path) -> None:
    flags = ("--extra-output-dir", str(tmp_path / "extra"))
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder, *flags))
    outputs = []
    for segment in segments(babble(3, 42)):
        outputs.append(agent.pushpop(segment))
        again = agent.pop()
        assert not again.content
        assert again.finished is segment.finished
        assert agent.policy(agent.states).is_read() is not segment.finished
    assert text_of(outputs)
    assert len((tmp_path / "extra" / "st.txt").read_text().splitlines()) == 1
    assert len((tmp_path / "extra" / "asr.txt").read_text().splitlines()) == 1


def test_the_policy_may_be_given_states_and_all_caches_live_in_them(folder: Path) -> None:
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    (parameter,) = signature(agent.policy).parameters.values()
    assert (parameter.name, parameter.default) == ("states", None)
    sources = [segments(babble(2, 45)), segments(babble(2, 46))]
    alone = []
    for source in sources:
        agent.reset()
        alone.append([agent.pushpop(segment).content for segment in source])
    both = [agent.build_states(), agent.build_states()]
    together: list[list[str]] = [[], []]
    for pair in zip(*sources, strict=True):
        for segment, states, contents in zip(pair, both, together, strict=True):
            contents.append(agent.pushpop(segment, states).content)
    assert together == alone
    assert alone[0] != alone[1]


@dataclass
class OldSegment:
    """A segment of StreamSpeech's SimulEval: no language, no config."""

    index: int = 0
    content: list[float] = field(default_factory=list)
    finished: bool = False
    is_empty: bool = False
    data_type: str = "speech"
    sample_rate: int = -1


class OldStates:
    """What StreamSpeech's SimulEval has instead of `AgentStates.reset`."""

    def reset(self) -> None:
        self.source: list[float] = []
        self.target: list[str] = []
        self.source_finished = self.target_finished = False
        self.source_sample_rate = self.target_sample_rate = 0


def test_agents_run_in_streamspeechs_simuleval_with_its_two_parameters(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = babble(3, 68)
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    expected = [agent.pushpop(segment).content for segment in segments(samples)]

    def push(self: GenericAgent, segment: Segment, states: AgentStates | None = None) -> None:
        (self.states if states is None else states).update_source(segment)

    def pushpop(self: GenericAgent, segment: Segment, states: AgentStates | None = None) -> Segment:
        self.push(segment, states)
        return self.pop(states)

    monkeypatch.setattr(GenericAgent, "push", push)
    monkeypatch.setattr(GenericAgent, "pushpop", pushpop)
    monkeypatch.setattr(AgentStates, "reset", OldStates.reset)
    monkeypatch.setattr("echostream.agents.states.SpeechSegment", OldSegment)
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    agent.to("cpu")
    sent = [
        OldSegment(content=segment.content, sample_rate=SAMPLE_RATE, finished=segment.finished)
        for segment in segments(samples)
    ]
    assert [agent.pushpop(segment).content for segment in sent] == expected
    states = agent.build_states()
    assert [agent.pushpop(segment, states).content for segment in sent] == expected


def test_every_answer_can_be_sent_as_json(folder: Path) -> None:
    """SimulEval 1.1.4 gives a text without a language one that its server cannot serialise."""
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    sent: Sequence[Segment] = [EmptySegment(), *segments(babble(2, 69))]
    kinds = set()
    for segment in sent:
        answer = agent.pushpop(segment)
        assert segment_from_json_string(answer.json()) == answer
        kinds.add(type(answer).__name__)
    assert segment_from_json_string(agent.pop().json()).finished
    assert kinds == {"EmptySegment", "TextSegment"}


def test_the_columns_are_those_that_streamspeechs_scripts_ask_for(
    folder: Path, recordings: list[Path], tmp_path: Path
) -> None:
    agent = ("--agent", str(ROOT / "agents" / "s2tt.py"), "--model-path", str(folder))
    flags = ("--quality-metrics", "BLEU", "--latency-metrics", *METRICS)
    _, process = run_command(
        tmp_path, recordings[:2], *agent, *flags, "--device", "gpu", "--computation-aware"
    )
    columns = [name for metric in METRICS for name in (metric, f"{metric}_CA")]
    scores = read_scores(tmp_path)
    assert list(scores) == ["BLEU", *columns]
    assert all(scores.values())
    table = process.stdout.strip().splitlines()
    assert len(table) == 2
    assert table[0].split() == ["BLEU", *columns]
    with open(tmp_path / "out" / "metrics.tsv", newline="") as file:
        assert len(list(csv.reader(file, delimiter="\t"))) == 1 + 2


def test_our_own_latency_by_words_is_that_of_simulevals_columns(
    folder: Path, recordings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --computation-aware, where every build is right."""
    names = ("AL", "LAAL", "AP", "DAL", "ATD", "StartOffset", "EndOffset")
    flags = ("--model-path", str(folder), "--latency-metrics", *names)
    run_here(monkeypatch, tmp_path, recordings, *S2TT, *flags)
    assert len(read_log(tmp_path)) == len(recordings)
    ours = score_run(tmp_path / "out" / "instances.log", Options())
    theirs = read_scores(tmp_path)
    assert ours.words is not None
    for name in names:
        assert ours.words.values[name] == pytest.approx(float(theirs[name]), abs=6e-4)  # 3 decimals
