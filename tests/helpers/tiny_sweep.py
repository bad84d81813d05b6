"""A test set, an agent and a model for sweeps, small enough to run the real `simuleval` on."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from echostream.evaluation.curve import main

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

# Writes a number for each half second, L x 160 ms late; with L = 1 it writes the first number
# twice, as the method "decoder" one number more. A trap is a file with a number: the first process
# that has finished so many utterances dies or hangs there. It works once: the file gets another
# name, and the id of the process.
AGENT = """
import os
import signal
import time

from simuleval.agents import ReadAction, SpeechToTextAgent, WriteAction
from simuleval.utils import entrypoint

NUMBERS = {numbers}


@entrypoint
class Counter(SpeechToTextAgent):
    def __init__(self, args):
        super().__init__(args)
        if args.max_future_frames == args.refused:
            raise ValueError(f"not trained for L = {{args.max_future_frames}}")
        with open(args.model_path) as file:
            assert file.read().strip() == "weights"
        self.finished = 0

    @staticmethod
    def add_args(parser):
        parser.add_argument("--model-path", required=True)
        parser.add_argument("--max-future-frames", type=int, default=0)
        parser.add_argument("--stride-n", type=int, default=1)
        parser.add_argument("--refused", type=int, default=-1)
        parser.add_argument("--silent", action="store_true")
        parser.add_argument("--decoding-method", default="ctc")
        parser.add_argument("--skip-loud", action="store_true")
        parser.add_argument("--silent-word", help="no effect")
        parser.add_argument("--trap", default=None)
        parser.add_argument("--deadly", action="store_true")

    def spring(self):
        sprung = self.args.trap + ".sprung"
        try:
            with open(self.args.trap) as file:
                if self.finished != int(file.read()):
                    return
            os.rename(self.args.trap, sprung)
        except FileNotFoundError:
            return
        with open(sprung, "w") as file:
            file.write(str(os.getpid()))
        if self.args.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def policy(self, states=None):
        if self.args.trap:
            self.spring()
        states = states or self.states
        self.finished += states.source_finished
        seconds = len(states.source) / 16000
        late = 0 if states.source_finished else 0.16 * self.args.max_future_frames
        due = NUMBERS[: max(0, int((seconds - late) / 0.5))]
        if self.args.max_future_frames == 1:
            due = [*due[:1], *due]
        if self.args.decoding_method == "decoder" and states.source_finished:
            due = NUMBERS[: len(due) + 1]
        if self.args.silent or (self.args.skip_loud and states.source[0] > 0.1):
            due = []
        num_written = sum(len(text.split()) for text in states.target)
        if len(due) - num_written < self.args.stride_n and not states.source_finished:
            return ReadAction()
        return WriteAction(" ".join(due[num_written:]), finished=states.source_finished)
"""


DEPENDS_ON_THE_CLOCK = ("AL_CA", "LAAL_CA", "AP_CA", "DAL_CA", "compute_rtf")


class Corpus:
    """A test set on disk, with the agent and a model for it."""

    def __init__(self, folder: Path, half_seconds: tuple[int, ...] = (4, 6, 9, 5)) -> None:
        self.folder = folder
        self.agent = folder / "agent.py"
        self.agent.write_text(AGENT.format(numbers=list(NUMBERS)))
        self.model = folder / "tiny-model"
        self.model.write_text("weights\n")
        self.wavs = [folder / f"{index}.wav" for index in range(len(half_seconds))]
        self.half_seconds = half_seconds
        for wav, count in zip(self.wavs, half_seconds, strict=True):
            soundfile.write(wav, np.zeros(8000 * count), 16000)
        self.source = folder / "wav_list.txt"
        self.source.write_text("".join(f"{wav}\n" for wav in self.wavs))
        self.target = folder / "target.txt"
        self.target.write_text("".join(f"{' '.join(NUMBERS[:n])}\n" for n in half_seconds))
        self.output = folder / "out"

    def words(self, *more: object) -> list[str]:
        """The arguments of a sweep over this corpus."""
        paths = {
            "--agent": self.agent,
            "--model-path": self.model,
            "--source": self.source,
            "--target": self.target,
            "--output": self.output,
        }
        given = [str(word) for pair in paths.items() for word in pair if pair[0] not in more]
        return [*given, "--resamples", "50", "--jobs", "2", *map(str, more)]

    def elsewhere(self) -> Corpus:
        """The same test set, agent and model, with another output folder."""
        other = copy.copy(self)
        other.output = self.folder / "elsewhere"
        return other

    def make_loud(self, indices: range) -> None:
        """Makes recordings loud, for which an agent with --skip-loud writes nothing."""
        for index in indices:
            samples = np.full(8000 * self.half_seconds[index], 0.5)
            soundfile.write(self.wavs[index], samples, 16000)

    def sweep(self, *more: object) -> int:
        return main(self.words(*more))

    def rows(self, name: str = "results.tsv") -> list[dict[str, str]]:
        with open(self.output / name, newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))

    def results(self) -> dict[str, Any]:
        return dict(json.loads((self.output / "results.json").read_text()))


def logged(folder: Path) -> list[dict[str, Any]]:
    """The instances.log of a point without what depends on the clock."""
    entries = [json.loads(line) for line in (folder / "instances.log").read_text().splitlines()]
    return [{key: value for key, value in e.items() if key != "elapsed"} for e in entries]


def assert_same(sweep: Corpus, other: Corpus) -> None:
    """Everything that two sweeps have written is the same, but for what depends on the clock."""
    assert _timeless(sweep) == _timeless(other)
    names = [point["name"] for point in other.results()["points"]]
    assert [point["name"] for point in sweep.results()["points"]] == names
    for name in names:
        one, two = sweep.output / name, other.output / name
        assert (one / "scores.tsv").read_bytes() == (two / "scores.tsv").read_bytes()
        assert logged(one) == logged(two)


def _timeless(sweep: Corpus) -> list[dict[str, str]]:
    """The cells of results.tsv, as they are written."""
    return [
        {key: value for key, value in row.items() if key not in DEPENDS_ON_THE_CLOCK}
        for row in sweep.rows()
    ]
