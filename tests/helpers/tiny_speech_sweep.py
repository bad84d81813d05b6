"""A test set, an agent that speaks in tones and a judge of tones, for sweeps of speech."""

from __future__ import annotations

import sys
from pathlib import Path

from tiny_sweep import AGENT, NUMBERS, Corpus

# 100 ms at the level 1000 (n + 1) are number n. With rounds of the refiner, nothing is doubled.
_CHANGES = (
    ("import ReadAction, SpeechToTextAgent, ", "import ReadAction, SpeechToSpeechAgent, "),
    ("class Counter(SpeechToTextAgent)", "class Counter(SpeechToSpeechAgent)"),
    (
        "    def spring(self):",
        "    def reset(self):\n"
        "        super().reset()\n"
        "        self.num_written = 0\n\n"
        "    def spring(self):",
    ),
    ("sum(len(text.split()) for text in states.target)", "self.num_written"),
    (
        'return WriteAction(" ".join(due[num_written:]), finished=states.source_finished)',
        "self.num_written = len(due)\n"
        "        content = speech(due[num_written:], states.source_finished)\n"
        "        return WriteAction(content, finished=states.source_finished)",
    ),
    (
        "if self.args.max_future_frames == 1:",
        "if self.args.max_future_frames == 1 and not self.args.refine_steps:",
    ),
    (
        '        parser.add_argument("--silent-word", help="no effect")\n',
        '        parser.add_argument("--silent-word", help="no effect")\n'
        '        parser.add_argument("--refine-steps", type=int, default=0)\n',
    ),
)
_SPEECH = """
from simuleval.data.segments import SpeechSegment


def speech(numbers, finished):
    levels = [1000 * (NUMBERS.index(number) + 1) / 32768 for number in numbers]
    samples = [level for level in levels for _ in range(1600)]
    return SpeechSegment(content=samples, sample_rate=16000, finished=finished)
"""
# Each recording that it reads is noted beside it.
_JUDGE = """
import array, sys, wave
NUMBERS = {numbers}
for line in sys.stdin:
    open(__file__ + ".calls", "a").write(line)
    with wave.open(line.rstrip("\\n")) as file:
        samples = array.array("h", file.readframes(-1))
    levels = [round(level / 1000) for level in samples[800::1600]]
    print(" ".join(NUMBERS[level - 1] if 0 < level < 11 else "um" for level in levels))
"""


class SpokenCorpus(Corpus):
    """The recordings of a corpus, with an agent that says its numbers and a judge of it."""

    def __init__(self, folder: Path, half_seconds: tuple[int, ...] = (4, 6, 9, 5)) -> None:
        super().__init__(folder, half_seconds)
        agent = AGENT.format(numbers=list(NUMBERS))
        for silent, spoken in _CHANGES:
            assert silent in agent
            agent = agent.replace(silent, spoken)
        self.agent.write_text(agent + _SPEECH)
        self.judge = folder / "judge.py"
        self.judge.write_text(_JUDGE.format(numbers=list(NUMBERS)))

    @property
    def judged(self) -> tuple[str, str]:
        """The flags of the judge."""
        return "--asr-judge", f"command:{sys.executable} {self.judge}"

    def words(self, *more: object) -> list[str]:
        """The arguments of a sweep of speech over this corpus."""
        return super().words("--task", "s2st", *more)

    def num_transcribed(self) -> int:
        """How many recordings the judge has read so far."""
        calls = self.judge.with_name("judge.py.calls")
        return len(calls.read_text().splitlines()) if calls.exists() else 0
