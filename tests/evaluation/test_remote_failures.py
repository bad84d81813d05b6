"""Errors in a remote evaluation are named, and no finished utterance is lost.

Every server here is SimulEval's own; the agents behind it misbehave.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from servers import (
    Lists,
    free_port,
    local_run,
    read_log,
    standalone,
    without_times,
    write_lists,
)
from tiny_model import SAMPLE_RATE, babble

from echostream.evaluation.remote.client import main
from echostream.evaluation.remote.utterance import MAX_CALLS_AFTER_END

# An agent that writes how many segments it has received, and misbehaves in the second utterance.
AGENT = """
import os
import time
from simuleval.agents import SpeechToTextAgent, WriteAction
from simuleval.data.segments import SpeechSegment, TextSegment
from simuleval.utils import entrypoint

@entrypoint
class Misbehaving(SpeechToTextAgent):
    utterance = -2  # SimulEval resets once while it builds the agent

    @staticmethod
    def add_args(parser):
        parser.add_argument("--how")

    def reset(self):
        super().reset()
        self.received = 0
        self.utterance += 1

    def push(self, *segment):
        super().push(*segment)
        self.received += 1
        if self.utterance >= 1 and self.received == 3:
            if self.args.how == "die":
                os._exit(3)
            if self.args.how == "hang":
                time.sleep(60)
            if self.args.how == "raise":
                raise RuntimeError("an error of the agent")

    def policy(self, states=None):
        finished = self.states.source_finished
        if self.args.how == "never finish":
            finished = False
        if self.args.how == "finish early":
            finished = finished or self.received == 2
        if self.args.how == "finish late":
            finished = self.received >= 9
        text = "\u2581rec eived" if self.args.how == "write pieces" else f"{self.received} received"
        return WriteAction(text, finished=finished)

    def pop(self, states=None):
        segment = super().pop(states)
        segment.tgt_lang = None
        if self.args.how == "write speech":
            return SpeechSegment(content=[0.0], sample_rate=16000, finished=True, tgt_lang=None)
        return segment
"""


@pytest.fixture
def lists(tmp_path: Path) -> Lists:
    """Three recordings of five segments each."""
    paths = [tmp_path / f"{index}.wav" for index in range(3)]
    for index, path in enumerate(paths):
        soundfile.write(path, babble(1.5, index), SAMPLE_RATE)
    return write_lists(tmp_path, paths)


@pytest.fixture
def agent_file(tmp_path: Path) -> str:
    (tmp_path / "agent.py").write_text(AGENT)
    return str(tmp_path / "agent.py")


def misbehaved(lists: Lists, agent_file: str, output: Path, how: str) -> int:
    """The exit status of a run with such an agent."""
    with standalone(output.parent, "--agent", agent_file, "--how", how) as url:
        flags = [*lists.flags, "--url", url, "--output", str(output)]
        return main([*flags, "--timeout", "3"] if how == "hang" else flags)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("die", "PUT http://localhost:{port}/input: the server does not answer"),
        ("hang", "PUT http://localhost:{port}/input: the server does not answer: timed out"),
        ("raise", "PUT http://localhost:{port}/input: the server answered 500 Internal Server"),
    ],
)
def test_a_server_that_fails_in_the_middle_loses_no_finished_utterance(
    lists: Lists,
    agent_file: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    how: str,
    message: str,
) -> None:
    output = tmp_path / "out"
    assert misbehaved(lists, agent_file, output, how) == 1
    error = capsys.readouterr().err
    assert message.partition("{port}")[0] in error
    assert message.partition("{port}")[2] in error
    assert f"1 of 3 utterances are in {output / 'instances.log'}" in error
    assert "the same command continues from there" in error
    assert [instance["index"] for instance in read_log(output)] == [0]
    # A server that does well takes over; `how` is no setting of the client.
    assert misbehaved(lists, agent_file, output, "well") == 0
    assert [instance["index"] for instance in read_log(output)] == [0, 1, 2]


def test_an_agent_that_never_finishes_is_stopped(
    lists: Lists, agent_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert misbehaved(lists, agent_file, tmp_path / "out", "never finish") == 1
    message = f"{tmp_path / '0.wav'}: the agent has not finished after {MAX_CALLS_AFTER_END} more"
    assert message in capsys.readouterr().err
    assert read_log(tmp_path / "out") == []


def test_an_agent_that_finishes_late_is_called_until_it_does(
    lists: Lists, agent_file: str, tmp_path: Path
) -> None:
    assert misbehaved(lists, agent_file, tmp_path / "out", "finish late") == 0
    for instance in read_log(tmp_path / "out"):
        assert instance["prediction"].split()[::2] == list("123456789")
        assert instance["delays"][-2:] == [1500.0, 1500.0]


def test_an_agent_that_finishes_early_is_treated_as_simuleval_treats_it(
    lists: Lists, agent_file: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reset in the middle, and its next output is dropped; here a warning reports that."""
    flags = ("--agent", agent_file, "--how", "finish early")
    local = local_run(lists, tmp_path / "local", *flags)
    assert misbehaved(lists, agent_file, tmp_path / "out", "finish early") == 0
    assert without_times(read_log(tmp_path / "out")) == without_times(local)
    assert "dropped '1 received'" in caplog.text


def test_pieces_are_joined_to_words_and_each_has_its_delay(
    lists: Lists, agent_file: str, tmp_path: Path
) -> None:
    """As an agent writes under the SimulEval that comes with StreamSpeech."""
    assert misbehaved(lists, agent_file, tmp_path / "out", "write pieces") == 0
    instance = read_log(tmp_path / "out")[0]
    assert instance["prediction"] == " ".join(["received"] * 5)
    assert instance["delays"] == sorted([320.0, 640.0, 960.0, 1280.0, 1500.0] * 2)


def test_speech_output_is_refused(
    lists: Lists, agent_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert misbehaved(lists, agent_file, tmp_path / "out", "write speech") == 1
    assert "/output: must answer text, but answered 'speech'" in capsys.readouterr().err


def test_without_a_server_the_error_names_the_command_that_starts_one(
    lists: Lists, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    url = f"http://localhost:{port}"
    assert main([*lists.flags, "--url", url, "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert f"GET {url}/: the server does not answer:" in error
    assert "Connection refused" in error
    assert f"simuleval --standalone --remote-port {port} --agent" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "url", ["localhost:12321", "ftp://localhost", "http://", "http://h:port", "http://h:0"]
)
def test_an_address_that_is_none_is_refused(
    lists: Lists, tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert main([*lists.flags, "--url", url, "--output", str(tmp_path / "out")]) == 2
    assert "`url` must be like http://localhost:12321" in capsys.readouterr().err


def test_bad_lists_are_named_before_anything_is_sent(
    lists: Lists, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists.source.write_text(lists.source.read_text() + "none.wav\n")
    lists.target.write_text(lists.target.read_text() + "nothing\n")
    assert main([*lists.flags, "--output", str(tmp_path / "out")]) == 2
    assert (
        "line 4: none.wav cannot be read as audio: there is no such file" in capsys.readouterr().err
    )


@pytest.mark.parametrize("size", ["0", "-3", "long"])
def test_a_segment_size_that_is_none_is_refused(
    lists: Lists, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str
) -> None:
    flags = [*lists.flags, "--source-segment-size", size, "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main(flags)
    assert stop.value.code == 2
    assert "--source-segment-size" in capsys.readouterr().err


def test_a_recording_that_is_damaged_ends_the_run_by_name(
    lists: Lists, agent_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.flac"
    soundfile.write(cut, babble(2, 5), SAMPLE_RATE)
    data = bytearray(cut.read_bytes())
    data[10_000:10_200] = bytes(200)  # in the middle; a missing end would be found before
    cut.write_bytes(data)
    lists.source.write_text(f"{tmp_path / '0.wav'}\n{cut}\n{tmp_path / '1.wav'}\n")
    assert misbehaved(lists, agent_file, tmp_path / "out", "well") == 1
    error = capsys.readouterr().err
    assert f"{cut}: cannot be read" in error
    assert "1 of 3 utterances are in" in error
