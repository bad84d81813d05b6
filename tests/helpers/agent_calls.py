"""Agents as SimulEval calls them: its command line, in a process or in this one, and by hand."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simuleval.utils.agent
import soundfile
from numpy.typing import NDArray
from simuleval.data.segments import Segment, SpeechSegment
from simuleval.evaluator.instance import TextOutputInstance
from tiny_model import SAMPLE_RATE, babble

from echostream.agents import SpeechToTextTranslationAgent
from echostream.model_folder import load_model
from echostream.session.translator import StreamingTranslator

ROOT = Path(__file__).resolve().parents[2]
SEGMENT_MS = 320
REFERENCE = "the black cat sleeps in the house"
S2TT = ("--agent-class", "echostream.agents.SpeechToTextTranslationAgent")
ASR = ("--agent-class", "echostream.agents.StreamingASRAgent")

# name, seconds, rate, channels: what a test set may hold
RECORDINGS = (
    ("a.flac", 4.0, 16_000, 1),
    ("b.wav", 3.2, 48_000, 2),  # ends with a segment
    ("c.wav", 0.01, 16_000, 1),  # shorter than a window
    ("d.flac", 2.5, 22_050, 1),
)


def write_recordings(folder: Path) -> list[Path]:
    """The files of `RECORDINGS`."""
    paths = []
    for seed, (name, seconds, rate, channels) in enumerate(RECORDINGS):
        samples = babble(seconds, seed + 30, rate)
        paths.append(folder / name)
        soundfile.write(paths[-1], np.stack([samples] * channels, axis=1), rate)
    return paths


def command_line(
    cwd: Path,
    recordings: Sequence[Path],
    flags: Sequence[str],
    references: Sequence[str] | None,
    line_end: str = "\n",
) -> list[str]:
    """The arguments of a run whose lists, written here, and output are in `cwd`."""
    references = [REFERENCE] * len(recordings) if references is None else references
    for name, lines in (("source.txt", recordings), ("target.txt", references)):
        (cwd / name).write_bytes("".join(f"{line}{line_end}" for line in lines).encode())
    metrics = [] if "--latency-metrics" in flags else ["--latency-metrics", "AL", "LAAL"]
    lists = ["--source", "source.txt", "--target", "target.txt", "--output", "out"]
    size = ["--source-segment-size", str(SEGMENT_MS)]
    return [*lists, *size, "--no-progress-bar", *metrics, *flags]


def read_log(cwd: Path) -> list[dict[str, Any]]:
    log = cwd / "out" / "instances.log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def read_scores(cwd: Path) -> dict[str, str]:
    """The columns of scores.tsv, in order."""
    with open(cwd / "out" / "scores.tsv", newline="") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    return row


def run_command(
    cwd: Path,
    recordings: Sequence[Path],
    *flags: str,
    references: Sequence[str] | None = None,
    ok: bool = True,
) -> tuple[list[dict[str, Any]], subprocess.CompletedProcess[str]]:
    """Runs `simuleval`; the lines of its instances.log, and the process."""
    process = run_simuleval(cwd, *command_line(cwd, recordings, flags, references))
    assert (process.returncode == 0) is ok, process.stderr
    return read_log(cwd), process


def run_simuleval(
    cwd: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command `simuleval`, which may import EchoStream, in `cwd`."""
    return subprocess.run(
        [sys.executable, "-m", "simuleval.cli", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run_here(
    monkeypatch: pytest.MonkeyPatch,
    cwd: Path,
    recordings: Sequence[Path],
    *flags: str,
    references: Sequence[str] | None = None,
    line_end: str = "\n",
) -> list[dict[str, Any]]:
    """Runs `simuleval` in this process, where a test may have changed it; its instances.log."""
    from simuleval.cli import main

    cwd.mkdir(exist_ok=True)
    arguments = command_line(cwd, recordings, flags, references, line_end)
    with monkeypatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["simuleval", *arguments])
        patch.setattr(simuleval.utils.agent, "EVALUATION_SYSTEM_LIST", [])
        main()
    return read_log(cwd)


def join_like_streamspeech(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on SimulEval makes its texts as StreamSpeech's copy of it does."""

    def prediction(self: TextOutputInstance) -> str:
        mark = {"word": " ", "char": ""}[self.latency_unit]
        return "".join(self.prediction_list).replace("\u2581", mark)

    monkeypatch.setattr(TextOutputInstance, "prediction", property(prediction))


def arguments(folder: Path, *flags: str) -> Namespace:
    parser = ArgumentParser()
    SpeechToTextTranslationAgent.add_args(parser)
    return parser.parse_args(["--model-path", str(folder), *flags])


def segments(
    samples: NDArray[np.float32], sample_rate: int = SAMPLE_RATE, segment_ms: int = SEGMENT_MS
) -> list[Segment]:
    """What SimulEval sends for a recording."""
    size = segment_ms * sample_rate // 1000
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


def text_of(answers: Sequence[Segment]) -> str:
    """What SimulEval makes of an agent's answers."""
    return " ".join(answer.content for answer in answers if answer.content)


def by_session(folder: Path, path: Path, **session: Any) -> tuple[list[str], list[float]]:
    """Words and delays of a recording by the session alone, in segments as SimulEval cuts them."""
    samples, rate = soundfile.read(path, dtype="float32")
    translator = StreamingTranslator(load_model(folder), **session)
    size = -(-SEGMENT_MS * rate // 1000)
    outputs = []
    for start in range(0, len(samples), size):
        outputs += translator.push(samples[start : start + size], rate)
    outputs += translator.finish()
    words = [word for output in outputs for word in output.text.split()]
    return words, [output.delay_ms for output in outputs for _ in output.text.split()]
