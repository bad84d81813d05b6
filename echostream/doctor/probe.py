"""The installed SimulEval, found out by what it does: small runs of its own command.

Each run is the real evaluation of a second of silence by an agent that writes at known times. It
happens in this process, in a temporary folder, with what SimulEval prints put aside. Nothing here
looks at a version.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from echostream.streaming import SAMPLE_RATE
from echostream.text.tokenizer import WORD_START

REFERENCE = "the small black cat"  # a word less than is written, or AL and LAAL would be one
SOURCE_MS = 1000
SEGMENT_MS = 250
COMPUTE_S = 0.01  # of one policy call: enough to tell plain values from those with compute

# What is written when so many ms have been heard: words, or ms of speech.
WORDS = {500: ("the", "small"), 750: ("black",), 1000: ("cat", "sleeps")}
SPEECH_MS = {500: 400, 1000: 300}
UNSPACED = {500: "黒い猫は", 1000: "よく寝る"}


class TextProbe(SpeechToTextAgent):  # type: ignore[misc]
    """Writes `WORDS`, in the form that the installed build makes words of."""

    def policy(self, states: AgentStates | None = None) -> Action:
        """WRITE what is due, READ otherwise."""
        states = self.states if states is None else states
        time.sleep(COMPUTE_S)
        mark = WORD_START if joins_pieces("word") else ""
        words = WORDS.get(_heard_ms(states), ())
        if not words:
            return ReadAction()
        text = " ".join(mark + word for word in words)
        return WriteAction(text, finished=states.source_finished)


class CharacterProbe(SpeechToTextAgent):  # type: ignore[misc]
    """Writes `UNSPACED`, a text of a language without spaces, at its times."""

    def policy(self, states: AgentStates | None = None) -> Action:
        """WRITE what is due, READ otherwise."""
        states = self.states if states is None else states
        text = UNSPACED.get(_heard_ms(states), "")
        return WriteAction(text, finished=states.source_finished) if text else ReadAction()


class SpeechProbe(SpeechToSpeechAgent):  # type: ignore[misc]
    """Writes a tone of `SPEECH_MS`."""

    def policy(self, states: AgentStates | None = None) -> Action:
        """WRITE what is due, READ otherwise."""
        states = self.states if states is None else states
        time.sleep(COMPUTE_S)
        duration = SPEECH_MS.get(_heard_ms(states), 0)
        if not duration:
            return ReadAction()
        segment = SpeechSegment(
            content=[0.1] * (duration * SAMPLE_RATE // 1000),
            sample_rate=SAMPLE_RATE,
            finished=states.source_finished,
        )
        return WriteAction(segment, finished=states.source_finished)


def _heard_ms(states: AgentStates) -> int:
    return len(states.source) * 1000 // SAMPLE_RATE


@dataclass(frozen=True)
class Outcome:
    """What a run left behind: its log line, its score table, and why it broke off if it did."""

    logged: dict[str, Any]
    scores: dict[str, float]
    error: str | None


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
            # Whatever the installed build does not survive is what is to be found out here.
            except (Exception, SystemExit) as raised:
                error = _describe(raised)
        return Outcome(_read_log(output), _read_scores(output), error)


def remote_error() -> str | None:
    """Why the client of a remote evaluation cannot work; None if it comes as far as connecting."""
    with tempfile.TemporaryDirectory(prefix="echostream-doctor-") as name, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen: nothing can answer
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
    """SimulEval as if called with `flags`, without its output and without traces of earlier runs.

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


def _read_log(output: Path) -> dict[str, Any]:
    path = output / "instances.log"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    logged: dict[str, Any] = json.loads(lines[0]) if lines else {}
    return logged


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
