"""Small runs of the installed SimulEval's own command, which show how it behaves.

Each run is a real evaluation of one second of silence by an agent that writes at known times, in
this process and a temporary folder, with the output of SimulEval discarded. Nothing here depends on
version numbers.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import simuleval.cli
import soundfile
from simuleval.agents import (
    Action,
    AgentStates,
    ReadAction,
    SpeechToSpeechAgent,
    SpeechToTextAgent,
    WriteAction,
)
from simuleval.data.segments import SpeechSegment

from echostream.doctor.build import joins_pieces
from echostream.scoring.log import INSTANCES_LOG, ScoringError, Utterance, read_log
from echostream.streaming import SAMPLE_RATE
from echostream.text.tokenizer import WORD_START

REFERENCE = (
    "the small black cat"  # one word shorter than the hypothesis, so that AL and LAAL differ
)
SOURCE_MS = 1000
SEGMENT_MS = 250
COMPUTE_S = 0.01  # of one policy call: enough to separate plain values from those with compute

# The output after so many ms of source: words, or ms of speech.
WORDS = {500: ("the", "small"), 750: ("black",), 1000: ("cat", "sleeps")}
SPEECH_MS = {500: 400, 1000: 300}
UNSPACED = {500: "黒い猫は", 1000: "よく寝る"}


class TextProbe(SpeechToTextAgent):  # type: ignore[misc]
    """Writes `WORDS`, with word marks if the installed build needs them."""

    def policy(self, states: AgentStates | None = None) -> Action:
        """WRITE at the times of the table, READ otherwise."""
        states = self.states if states is None else states
        time.sleep(COMPUTE_S)
        mark = WORD_START if joins_pieces("word") else ""
        words = WORDS.get(_source_ms(states), ())
        if not words:
            return ReadAction()
        text = " ".join(mark + word for word in words)
        return WriteAction(text, finished=states.source_finished)


class CharacterProbe(SpeechToTextAgent):  # type: ignore[misc]
    """Writes `UNSPACED`, a text of a language without spaces, at its times."""

    def policy(self, states: AgentStates | None = None) -> Action:
        """WRITE at the times of the table, READ otherwise."""
        states = self.states if states is None else states
        text = UNSPACED.get(_source_ms(states), "")
        return WriteAction(text, finished=states.source_finished) if text else ReadAction()


class SpeechProbe(SpeechToSpeechAgent):  # type: ignore[misc]
    """Writes a tone of `SPEECH_MS`."""

    def policy(self, states: AgentStates | None = None) -> Action:
        """WRITE at the times of the table, READ otherwise."""
        states = self.states if states is None else states
        time.sleep(COMPUTE_S)
        duration = SPEECH_MS.get(_source_ms(states), 0)
        if not duration:
            return ReadAction()
        segment = SpeechSegment(
            content=[0.1] * (duration * SAMPLE_RATE // 1000),
            sample_rate=SAMPLE_RATE,
            finished=states.source_finished,
        )
        return WriteAction(segment, finished=states.source_finished)


def _source_ms(states: AgentStates) -> int:
    return len(states.source) * 1000 // SAMPLE_RATE


@dataclass(frozen=True)
class Outcome:
    """The results of a run: its only utterance, its score table, and the error if it failed."""

    utterance: Utterance | None  # None if the run wrote no log
    scores: dict[str, float]
    error: str | None

    @property
    def logged(self) -> Utterance:
        """The utterance of a run without an error."""
        assert self.utterance is not None
        return self.utterance


def evaluate(
    agent: type,
    metrics: Sequence[str],
    computation_aware: bool,
    more: Sequence[str] = (),
    reference: str = REFERENCE,
) -> Outcome:
    """Evaluates one of the agents above with these latency metrics and `more` flags."""
    with tempfile.TemporaryDirectory(prefix="echostream-doctor-") as name:
        folder = Path(name)
        output = folder / "out"
        output.mkdir()
        flags = [
            *_inputs(folder, reference),
            *("--source-segment-size", str(SEGMENT_MS)),
            *("--output", str(output)),
            *("--latency-metrics", *metrics),
            "--no-progress-bar",
            *(["--computation-aware"] if computation_aware else []),
            *more,
        ]
        error = None
        with _command_line(flags):
            try:
                simuleval.cli.evaluate(agent, {})
            # Any failure of the installed build is a result.
            except (Exception, SystemExit) as raised:
                error = _describe(raised)
        utterance = None
        try:
            utterance = read_log(output / INSTANCES_LOG).utterances[0]
        except ScoringError as unreadable:
            error = error or _describe(unreadable)
        return Outcome(utterance, _read_scores(output), error)


def remote_error() -> str | None:
    """The error of the client of a remote evaluation; None if it gets as far as connecting."""
    with tempfile.TemporaryDirectory(prefix="echostream-doctor-") as name, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: no connection succeeds
        flags = [
            "--remote-eval",
            *_inputs(Path(name)),
            *("--source-type", "speech", "--target-type", "text"),
            *("--remote-address", "127.0.0.1", "--remote-port", str(taken.getsockname()[1])),
            "--no-progress-bar",
        ]
        with _command_line(flags):
            try:
                simuleval.cli.remote_evaluate()
            except (OSError, ValueError):  # no connection, or an answer from some proxy
                return None
            except (Exception, SystemExit) as raised:
                return _describe(raised)
    return None


def _inputs(folder: Path, reference: str = REFERENCE) -> list[str]:
    silence = folder / "silence.wav"
    soundfile.write(silence, [0.0] * (SOURCE_MS * SAMPLE_RATE // 1000), SAMPLE_RATE)
    source, target = folder / "source.txt", folder / "target.txt"
    source.write_text(f"{silence}\n", encoding="utf-8")
    target.write_text(f"{reference}\n", encoding="utf-8")
    return ["--source", str(source), "--target", str(target)]


@contextlib.contextmanager
def _command_line(flags: Sequence[str]) -> Iterator[None]:
    """SimulEval as if called with `flags`, without its output and the state of earlier runs.

    It reads `sys.argv` even when it is called from Python.
    """
    before, sys.argv = sys.argv, ["simuleval", *flags]
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    simuleval.cli.EVALUATION_SYSTEM_LIST.clear()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        sys.argv = before
        logging.disable(disabled)
        simuleval.cli.EVALUATION_SYSTEM_LIST.clear()


def _read_scores(output: Path) -> dict[str, float]:
    path = output / "scores.tsv"
    if not path.exists():
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        return {
            name: float(value) for name, value in next(csv.DictReader(file, delimiter="\t")).items()
        }


def _describe(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
