"""One point of a latency curve: its command, and the record that marks it as finished."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echostream.config import ConfigError
from echostream.evaluation.test_set import TestSet
from echostream.files import digest, digest_of_stats, write_whole
from echostream.scoring.log import INSTANCES_LOG, Utterance, read_complete_log
from echostream.scoring.metrics.latency import LATENCY_METRICS
from echostream.scoring.simuleval_scores import WORDS, Counting, Scores, score
from echostream.scoring.simuleval_speech import OF_SIMULEVAL, ScoresOfSpeech, score_speech
from echostream.session_config import DECODING_METHODS, read_policy
from echostream.streaming.clock import algorithmic_latency_ms

MARKER = "point.json"  # written last: without it the point is not finished
SIMULEVAL_SCORES = "scores.tsv"
RUN_LOG = "run.log"

AGENT_CLASS = "echostream.agents.SpeechToTextTranslationAgent"
SPEECH_AGENT_CLASS = "echostream.agents.SpeechToSpeechTranslationAgent"
CTC = "ctc"  # the decoding method that every model has, and the default of the agents

# No --computation-aware: SimulEval 1.1.4 would put CA values into the plain columns.
SCORED = ("--quality-metrics", "BLEU", "--latency-metrics", *LATENCY_METRICS)
# SimulEval must have a metric of quality; BLEU, 0 for recordings, is the one that starts nothing.
SPEECH_SCORED = ("--quality-metrics", "BLEU", "--latency-metrics", *OF_SIMULEVAL)


def method_options(method: str) -> dict[str, Any]:
    """The options of a session for a method: ctc, decoder, either with a lagging, as in decoder:2,
    or the decoder with a policy of its own, as in wait-k:3 and alignatt:8.

    Raises ValueError for any other text.
    """
    name, colon, lagging = method.partition(":")
    if name in DECODING_METHODS and (not colon or lagging.isdecimal()):
        return {"decoding_method": name, **({"lagging_k1": int(lagging)} if colon else {})}
    try:
        own_policy = read_policy(method)[1] > 0
    except ConfigError:
        own_policy = False
    if not own_policy:
        raise ValueError(
            f"must be {' or '.join(DECODING_METHODS)}, one of them with a lagging like decoder:2, "
            f"wait-k:K or alignatt:F, but is {method} instead"
        )
    return {"decoding_method": "decoder", "policy": method}


@dataclass(frozen=True)
class Point:
    """The options that vary along a curve; `segment_ms` None is one segment per utterance."""

    max_future_frames: int
    segment_ms: int | None
    stride_n: int
    # One of DECODING_METHODS; `decoder:2` is the decoder with --lagging-k1 2, `wait-k:3` with
    # --policy wait-k:3.
    method: str = CTC
    refine_steps: int | None = None  # K of the unit refiner; None: the default of the agent

    @property
    def name(self) -> str:
        """The name of its folder; it contains the method unless that is ctc."""
        segment = "offline" if self.segment_ms is None else f"seg{self.segment_ms}"
        number = "" if "policy" in method_options(self.method) else "-k"
        method = "" if self.method == CTC else f"_{self.method.replace(':', number)}"
        refined = "" if self.refine_steps is None else f"_r{self.refine_steps}"
        return f"L{self.max_future_frames}_{segment}_n{self.stride_n}{method}{refined}"

    @property
    def number(self) -> int:
        """The K or F of the method, 0 without one."""
        return int(self.method.partition(":")[2] or 0)

    @property
    def line(self) -> str:
        """The name of the line of a picture on which the point is, without its look-ahead."""
        return (
            self.method if self.refine_steps is None else f"{self.method}, K = {self.refine_steps}"
        )

    @property
    def flags(self) -> list[str]:
        """The flags of the decoding method and the refiner; none for the defaults of the agents."""
        options = method_options(self.method)
        if self.refine_steps is not None:
            options["refine_steps"] = self.refine_steps
        return [
            word
            for name, value in options.items()
            if value != CTC
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]

    @property
    def algorithmic_latency_ms(self) -> int:
        """The latency of the encoder: one group and L groups of look-ahead."""
        return algorithmic_latency_ms(self.max_future_frames)


@dataclass(frozen=True)
class Part:
    """Lists with some of the utterances of a test set, and the output folder for them."""

    source: Path
    target: Path
    output: Path


@dataclass(frozen=True)
class Setup:
    """The options that all points of a curve share."""

    agent: Path | None  # None: the class of the task
    model_path: Path
    test_set: TestSet
    output: Path
    agent_args: tuple[str, ...] = ()  # passed to the agent or to SimulEval unchanged
    counting: Counting = WORDS  # from those of SimulEval about scores
    scoring_args: tuple[str, ...] = ()  # those flags alone
    pieces: Path | None = None  # the model of `--eval-latency-spm-model`

    @property
    def speaks(self) -> bool:
        """The output is speech."""
        return self.counting.latency_unit == "write"

    @property
    def agent_class(self) -> str:
        """The class of the agent, if there is no agent file."""
        return SPEECH_AGENT_CLASS if self.speaks else AGENT_CLASS

    @property
    def scored(self) -> tuple[str, ...]:
        """The flags for the metrics that SimulEval computes."""
        return SPEECH_SCORED if self.speaks else SCORED

    def read(self, point: Point) -> list[Utterance]:
        """The log of a point. Raises ScoringError if it does not hold the whole test set."""
        path = self.folder(point) / INSTANCES_LOG
        return read_complete_log(path, len(self.test_set), self.counting.latency_unit)

    def score(self, utterances: Sequence[Utterance]) -> Scores | ScoresOfSpeech:
        """The scores of the log of a point, without a judge."""
        return (score_speech if self.speaks else score)(utterances, self.counting)

    def folder(self, point: Point) -> Path:
        """The output folder of a point."""
        return self.output / point.name

    def command(self, point: Point, part: Part | None = None) -> list[str]:
        """The command of a point or of a part of it, with `simuleval` as its first word."""
        if part is None:
            part = Part(self.test_set.source, self.test_set.target, self.folder(point))
        segment = self.test_set.longest_ms if point.segment_ms is None else point.segment_ms
        agent = ("--agent-class", self.agent_class)
        if self.agent is not None:
            agent = ("--agent", str(self.agent))
        return [
            "simuleval",
            *agent,
            *("--model-path", str(self.model_path)),
            *("--source", str(part.source)),
            *("--target", str(part.target)),
            *("--output", str(part.output)),
            *("--max-future-frames", str(point.max_future_frames)),
            *("--source-segment-size", str(segment)),
            *("--stride-n", str(point.stride_n)),
            *point.flags,
            *self.scored,
            "--no-progress-bar",
            *self.agent_args,
        ]

    def inputs_digest(self) -> dict[str, str]:
        """A digest of each input that the result depends on beside the command, by name.

        The agent file, EchoStream's code, the lists and the model go by content, the recordings
        by size and time of change.
        """
        pieces = {} if self.pieces is None else {"pieces": digest(self.pieces)}
        return {
            # training is not part of an evaluation
            "code": digest(Path(__file__).resolve().parents[1], "*.py", but=("training", "data")),
            "agent": self.agent_class if self.agent is None else digest(self.agent),
            "model": digest(self.model_path),
            "source": digest(self.test_set.source),
            "target": digest(self.test_set.target),
            "recordings": digest_of_stats(self.test_set.recordings),
            "simuleval": importlib.metadata.version("simuleval"),
            **pieces,
        }


def find_simuleval() -> Path:
    """The `simuleval` command of the environment this interpreter belongs to.

    Raises FileNotFoundError if the environment has none. One elsewhere on the PATH is not used: it
    would run another torch and another EchoStream.
    """
    places = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts")])
    found = shutil.which("simuleval", path=places)
    if found is None:
        raise FileNotFoundError(
            f"no `simuleval` command in {places}: "
            f"install it with `{sys.executable} -m pip install simuleval`."
        )
    return Path(found)


def write_marker(folder: Path, **entries: Any) -> None:
    """Marks a point as finished, with its record. Call it after everything else is on disk."""
    record = {**entries, "instances_sha256": digest(folder / INSTANCES_LOG)}
    write_whole(folder / MARKER, json.dumps(record, indent=2) + "\n")


def read_marker(folder: Path, command: list[str], inputs: dict[str, str]) -> dict[str, Any] | None:
    """The record of a finished point, or None if it must be run (again).

    It counts only if the command, the inputs and instances.log are still those of the record.
    """
    try:
        record = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        unchanged = (
            record["command"] == command
            and record["inputs"] == inputs
            and record["instances_sha256"] == digest(folder / INSTANCES_LOG)
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return dict(record) if unchanged else None
