"""A real run of SimulEval with speech output: our latency is that of its scorers, to the digit."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from simuleval.evaluator.instance import SpeechToSpeechInstance
from simuleval.evaluator.scorers import get_scorer_class

from echostream.cli import main
from echostream.scoring.log import read_log

ROOT = Path(__file__).resolve().parents[2]
RATE = 22_050  # of the output: silences and durations are no whole ms
# With this flag 1.1.4 cannot score speech; its plain columns are those of the times in the log.
OF_THE_LOG = ("AL", "LAAL", "AP", "DAL", "StartOffset", "EndOffset")
DISCONTINUITY = ("DiscontinuitySum", "DiscontinuityAve", "DiscontinuityNum")

# Writes a tone at some of the steps; its length differs by utterance and step.
AGENT = """
from simuleval.agents import SpeechToSpeechAgent
from simuleval.agents.actions import ReadAction, WriteAction
from simuleval.data.segments import SpeechSegment
from simuleval.utils import entrypoint

@entrypoint
class Tones(SpeechToSpeechAgent):
    def policy(self, states=None):
        states = self.states if states is None else states
        num = len(states.source)
        done = states.source_finished
        if not done and num // 5120 % 3:
            return ReadAction()
        length = num % 7919 + (15000 if num % 3 else 1)
        segment = SpeechSegment(content=[0.25] * length, sample_rate=22050, finished=done)
        return WriteAction(segment, finished=done)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of `simuleval`; the last source is shorter than a segment."""
    folder = tmp_path_factory.mktemp("speech")
    (folder / "agent.py").write_text(AGENT)
    for number, length in enumerate([48_000, 33_333, 70_001, 999]):
        soundfile.write(folder / f"{number}.wav", np.zeros(length), 16_000)
    (folder / "source.txt").write_text("".join(f"{folder / f'{i}.wav'}\n" for i in range(4)))
    (folder / "target.txt").write_text("the small cat sleeps\nthe cat\na\nno one is here\n")
    command = [sys.executable, "-m", "simuleval.cli", "--agent", "agent.py", "--output", "out"]
    command += ["--source", "source.txt", "--target", "target.txt", "--no-progress-bar"]
    command += ["--source-segment-size", "320", "--quality-metrics", "ASR_BLEU"]
    command += ["--latency-metrics", *OF_THE_LOG]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert main(["score", str(folder / "out")]) == 0
    return folder / "out"


def row(path: Path) -> dict[str, str]:
    with open(path, newline="") as file:
        return next(csv.DictReader(file, delimiter="\t"))


def live_instances(run: Path) -> dict[int, SpeechToSpeechInstance]:
    """SimulEval's own objects as they are before the log is written, rebuilt from the log."""
    found = {}
    for one in map(json.loads, (run / "instances.log").read_text().splitlines()):
        instance = SpeechToSpeechInstance.__new__(SpeechToSpeechInstance)
        instance.__dict__.update(
            index=one["index"],
            args=SimpleNamespace(output=str(run.parent / "again")),
            latency_unit="word",
            delays=one["delays"],
            durations=one["durations"],
            elapsed=[],
            prediction_list=[[0.25] * round(ms * RATE / 1000) for ms in one["durations"]],
            target_sample_rate=RATE,
            metrics={},
            reference=one["reference"],
            sample_list=[0] * round(one["source_length"] * 16),
            sample_rate_value=16_000,
            dataloader=SimpleNamespace(get_source_audio_path=str),
        )
        (run.parent / "again").mkdir(exist_ok=True)
        instance.summarize()
        found[one["index"]] = instance
    return found


def test_the_latency_of_a_run_is_simulevals(run: Path) -> None:
    theirs, ours = row(run / "scores.tsv"), row(run / "echostream_scores.tsv")
    assert {name: round(float(ours[name]), 3) for name in OF_THE_LOG} == {
        name: float(theirs[name]) for name in OF_THE_LOG
    }


def test_token_delay_and_silences_are_those_of_simulevals_scorers_on_speech(run: Path) -> None:
    """1.1.4 scores speech from its log as if it were text, and has no silences there."""
    instances, ours = live_instances(run), row(run / "echostream_scores.tsv")
    assert float(ours["DiscontinuityNum"]) > 1
    for name in ("ATD", *DISCONTINUITY):
        scorer = get_scorer_class("latency", name)(computation_aware=False)
        assert float(ours[name]) == pytest.approx(scorer(instances), abs=1e-6), name


def test_asr_bleu_without_fairseq_is_zero_and_the_run_ends_well(run: Path) -> None:
    assert float(row(run / "scores.tsv")["ASR_BLEU"]) == 0.0


def test_a_judge_gets_what_the_agent_wrote(run: Path, tmp_path: Path) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(
        "import sys, wave\n"
        "for line in sys.stdin:\n"
        "    file = wave.open(line.strip())\n"
        "    print(file.getnframes(), file.getframerate())\n"
    )
    assert main(["score", str(run), "--asr-judge", f"command:{sys.executable} {judge}"]) == 0
    lines = map(json.loads, (run / "asr_transcripts.jsonl").read_text().splitlines())
    found = {(one["index"], one["version"]): one["transcript"] for one in lines}
    for one in read_log(run / "instances.log").utterances:
        written = sum(round(ms * RATE / 1000) for ms in one.durations or ())
        played = soundfile.info(run / "wavs" / f"{one.index}_pred.wav").frames
        assert found[one.index, "without inserted silence"] == f"{written} {RATE}"
        assert found[one.index, "as played"] == f"{played} {RATE}"
