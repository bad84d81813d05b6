"""The agents under the real SimulEval: its command line in a process, and its calls by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from simuleval.data.segments import EmptySegment, Segment, SpeechSegment, TextSegment
from tiny_model import SAMPLE_RATE, babble, make_model_folder

from echostream.agents import SpeechToTextTranslationAgent, StreamingASRAgent
from echostream.agents.recordings import RecordingError, check_recordings
from echostream.model_folder import load_model
from echostream.translator import StreamingTranslator

ROOT = Path(__file__).resolve().parent.parent
SEGMENT_MS = 320

# name, seconds, rate, channels: what a test set may hold
RECORDINGS = (
    ("a.flac", 4.0, 16_000, 1),
    ("b.wav", 3.2, 48_000, 2),  # ends with a segment
    ("c.wav", 0.01, 16_000, 1),  # shorter than a window
    ("d.flac", 2.5, 22_050, 1),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("audio")
    paths = []
    for seed, (name, seconds, rate, channels) in enumerate(RECORDINGS):
        samples = babble(seconds, seed + 30, rate)
        paths.append(place / name)
        soundfile.write(paths[-1], np.stack([samples] * channels, axis=1), rate)
    return paths


def simuleval(
    cwd: Path, recordings: list[Path], *flags: str, ok: bool = True
) -> tuple[list[dict[str, object]], subprocess.CompletedProcess[str]]:
    """Runs SimulEval's command line; the lines of its instances.log, and the process."""
    (cwd / "source.txt").write_text("".join(f"{path}\n" for path in recordings))
    (cwd / "target.txt").write_text("the black cat sleeps in the house\n" * len(recordings))
    command = [sys.executable, "-m", "simuleval.cli", "--source", "source.txt"]
    command += ["--target", "target.txt", "--output", "out", "--no-progress-bar", *flags]
    command += ["--source-segment-size", str(SEGMENT_MS), "--latency-metrics", "AL", "LAAL"]
    process = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (process.returncode == 0) is ok, process.stderr
    log = cwd / "out" / "instances.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in lines], process


def arguments(folder: Path, *flags: str) -> Namespace:
    parser = ArgumentParser()
    SpeechToTextTranslationAgent.add_args(parser)
    return parser.parse_args(["--model-path", str(folder), *flags])


def segments(samples: NDArray[np.float32], sample_rate: int = SAMPLE_RATE) -> list[Segment]:
    """What SimulEval sends for a recording."""
    size = SEGMENT_MS * sample_rate // 1000
    starts = range(0, len(samples), size)
    return [
        SpeechSegment(
            content=samples[start : start + size].tolist(),
            sample_rate=sample_rate,
            finished=start + size >= len(samples),
            tgt_lang=None,
        )
        for start in starts
    ]


def by_session(folder: Path, path: Path, **session: object) -> tuple[list[str], list[float]]:
    """Words and delays of a recording by the session alone, in segments as SimulEval cuts them."""
    samples, rate = soundfile.read(path, dtype="float32")
    translator = StreamingTranslator(load_model(folder), **session)  # type: ignore[arg-type]
    size = -(-SEGMENT_MS * rate // 1000)
    outputs = []
    for start in range(0, len(samples), size):
        outputs += translator.push(samples[start : start + size], rate)
    outputs += translator.finish()
    words = [word for output in outputs for word in output.text.split()]
    return words, [output.delay_ms for output in outputs for _ in output.text.split()]


def test_the_command_line_translates_a_list_of_recordings(
    folder: Path, recordings: list[Path], tmp_path: Path
) -> None:
    instances, process = simuleval(
        tmp_path,
        recordings,
        *("--agent", str(ROOT / "agents" / "s2tt.py"), "--model-path", str(folder)),
        *("--max-future-frames", "1", "--stride-n", "2", "--device", "gpu"),
        *("--extra-output-dir", "deep/extra", "--quality-metrics", "BLEU"),
    )
    assert [instance["index"] for instance in instances] == [0, 1, 2, 3]
    spoken = 0
    for instance, path in zip(instances, recordings, strict=True):
        words, delays = by_session(folder, path, max_future_frames=1, stride_n=2)
        assert instance["prediction"] == " ".join(words)
        assert instance["delays"] == pytest.approx(delays)
        spoken += len(words)
    assert spoken > 10
    # Whole words that came in time, not everything at the end.
    assert min(instances[0]["delays"]) < instances[0]["source_length"]  # type: ignore[type-var, call-overload]
    # Only SimulEval's table of results goes to standard output.
    assert set(process.stdout.split()[:3]) == {"BLEU", "AL", "LAAL"}
    assert len(process.stdout.strip().splitlines()) == 2

    extra = tmp_path / "deep" / "extra"
    assert {file.name for file in extra.iterdir()} == {"asr.txt", "st.txt"}
    assert (extra / "st.txt").read_text().splitlines() == [i["prediction"] for i in instances]
    heard = [
        " ".join(by_session(folder, path, max_future_frames=1, task="asr")[0])
        for path in recordings
    ]
    assert (extra / "asr.txt").read_text().splitlines() == heard


def test_the_agent_class_says_of_one_recording_what_it_says_in_a_list(
    folder: Path, recordings: list[Path], tmp_path: Path
) -> None:
    agent = ("--agent-class", "echostream.agents.SpeechToTextTranslationAgent")
    alone, _ = simuleval(tmp_path, [recordings[3]], *agent, "--model-path", str(folder))
    (tmp_path / "list").mkdir()
    listed, _ = simuleval(tmp_path / "list", recordings, *agent, "--model-path", str(folder))
    assert alone[0]["prediction"] == listed[3]["prediction"] != ""
    assert alone[0]["delays"] == listed[3]["delays"]


def test_the_recognition_agent_writes_source_words(
    folder: Path, recordings: list[Path], tmp_path: Path
) -> None:
    agent = ("--agent", str(ROOT / "agents" / "asr.py"))
    flags = ("--model-path", str(folder), "--extra-output-dir", "extra")
    instances, _ = simuleval(tmp_path, recordings[:2], *agent, *flags)
    for instance, path in zip(instances, recordings[:2], strict=True):
        assert instance["prediction"] == " ".join(by_session(folder, path, task="asr")[0]) != ""
    assert [file.name for file in (tmp_path / "extra").iterdir()] == ["asr.txt"]


def test_an_unreadable_recording_is_named_before_earlier_results_are_overwritten(
    folder: Path, recordings: list[Path], tmp_path: Path
) -> None:
    """SimulEval alone would empty instances.log, then stop at the first file it cannot load."""
    cut = tmp_path / "cut.flac"
    cut.write_bytes(recordings[0].read_bytes()[:20_000])
    (tmp_path / "out").mkdir()
    earlier = json.dumps({"index": 0, "prediction": "kept"}) + "\n"
    (tmp_path / "out" / "instances.log").write_text(earlier)
    agent = ("--agent", str(ROOT / "agents" / "s2tt.py"), "--model-path", str(folder))
    names = [recordings[0], cut, tmp_path / "none.wav"]
    instances, process = simuleval(tmp_path, names, *agent, ok=False)
    assert instances == [{"index": 0, "prediction": "kept"}]
    assert "2 of the 3 recordings in source.txt cannot be read" in process.stderr
    assert f"line 2: {cut}" in process.stderr
    assert f"line 3: {tmp_path / 'none.wav'}" in process.stderr


def test_an_evaluation_around_an_unreadable_recording_is_possible(
    recordings: list[Path], tmp_path: Path
) -> None:
    source = tmp_path / "source.txt"
    source.write_text(f"{recordings[0]}\n{tmp_path / 'none.wav'}\n{recordings[1]}\n")

    def check(start: int, end: int) -> None:
        check_recordings(Namespace(source=str(source), start_index=start, end_index=end))

    check(0, 1)
    check(2, -1)
    with pytest.raises(RecordingError, match=r"line 2: .*none\.wav"):
        check(1, 2)
    check_recordings(Namespace())  # a standalone agent has no list


# SimulEval's calls by hand


def test_finished_is_written_exactly_when_the_source_is_finished(folder: Path) -> None:
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    for samples in (babble(2, 40), babble(0.005, 41), np.zeros(30_000, np.float32)):
        answers = []
        for segment in segments(samples):
            answers.append(agent.pushpop(segment))
            assert answers[-1].finished is segment.finished
            assert agent.states.source == [] and agent.states.target == []
        agent.reset()
    assert any(answer.content for answer in answers if not answer.is_empty)


def test_a_pop_without_new_input_says_nothing_new(folder: Path, tmp_path: Path) -> None:
    flags = ("--extra-output-dir", str(tmp_path / "extra"))
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder, *flags))
    for segment in segments(babble(3, 42)):
        agent.pushpop(segment)
        again = agent.pop()
        assert not again.content
        assert again.finished is segment.finished
        assert agent.policy(agent.states).is_read() is not segment.finished
    assert len((tmp_path / "extra" / "st.txt").read_text().splitlines()) == 1
    assert len((tmp_path / "extra" / "asr.txt").read_text().splitlines()) == 1


def test_several_segments_may_come_between_two_policy_calls(folder: Path) -> None:
    agent = StreamingASRAgent.from_args(arguments(folder))
    sent = segments(babble(3, 43))
    one_by_one = " ".join(answer.content for answer in map(agent.pushpop, sent) if answer.content)
    agent.reset()
    for segment in sent:
        agent.push(segment)
    answer = agent.pop()
    assert answer.content == one_by_one != ""
    assert answer.finished


def test_an_empty_segment_may_come_first_or_end_the_source(folder: Path) -> None:
    agent = StreamingASRAgent.from_args(arguments(folder))
    sent = segments(babble(2, 44))
    expected = " ".join(answer.content for answer in map(agent.pushpop, sent) if answer.content)
    agent.reset()
    assert agent.states.source_sample_rate == 0
    assert agent.pushpop(EmptySegment()).is_empty  # before any sample rate is known
    sent[-1].finished = False
    answers = [agent.pushpop(segment) for segment in sent]
    assert not any(answer.finished for answer in answers)
    assert agent.states.source_sample_rate == SAMPLE_RATE
    answers.append(agent.pushpop(EmptySegment(finished=True)))
    assert answers[-1].finished
    assert " ".join(answer.content for answer in answers if answer.content) == expected


def test_a_source_without_a_sample_is_finished_with_nothing(folder: Path) -> None:
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    for segment in (
        EmptySegment(finished=True),
        SpeechSegment(content=[], sample_rate=SAMPLE_RATE, finished=True, tgt_lang=None),
    ):
        answer = agent.pushpop(segment)
        assert answer.finished
        assert not answer.content
        agent.reset()


def test_states_made_by_the_caller_are_streams_of_their_own(folder: Path) -> None:
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
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


def test_a_reset_in_the_middle_leaves_no_residue(folder: Path) -> None:
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    sent = segments(babble(3, 47))
    expected = [agent.pushpop(segment).content for segment in sent]
    agent.reset()
    for segment in segments(babble(3, 48, 8000), 8000)[:5]:
        agent.push(segment)
    agent.reset()
    assert [agent.pushpop(segment).content for segment in sent] == expected


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


def test_stereo_segments_are_averaged(folder: Path) -> None:
    agent = StreamingASRAgent.from_args(arguments(folder))
    mono = segments(babble(2, 49))
    expected = [agent.pushpop(segment).content for segment in mono]
    agent.reset()
    for segment in mono:
        segment.content = [[2 * sample, 0.0] for sample in segment.content]
    assert [agent.pushpop(segment).content for segment in mono] == expected


def test_a_segment_that_is_not_speech_is_refused(folder: Path) -> None:
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    with pytest.raises(TypeError, match="`segment` must be speech, but is a TextSegment"):
        agent.push(TextSegment(content="bonjour"))


@pytest.mark.parametrize("device", ["cpu", "gpu", "cuda", "cuda:0"])
def test_to_takes_what_simuleval_gives(folder: Path, device: str) -> None:
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    sent = segments(babble(2, 50))
    expected = [agent.pushpop(segment).content for segment in sent]
    agent.to(device, fp16=False)
    assert [agent.pushpop(segment).content for segment in sent] == expected


def test_flags_are_passed_to_the_session(folder: Path) -> None:
    flags = ("--lagging-k1", "1000", "--max-future-frames", "2")
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder, *flags))
    assert agent.states.session.max_future_frames == 2
    answers = [agent.pushpop(segment).content for segment in segments(babble(3, 51))]
    assert not any(answers[:-1])
    assert answers[-1]
    with pytest.raises(ValueError, match="`lagging_k2` must be an integer >= 0, but is -1"):
        SpeechToTextTranslationAgent.from_args(arguments(folder, "--lagging-k2", "-1"))


def test_the_default_look_ahead_is_the_smallest_of_the_model(folder: Path) -> None:
    agent = SpeechToTextTranslationAgent.from_args(arguments(folder))
    assert agent.states.session.max_future_frames == 0
