"""SimulEval agent of Whisper with LocalAgreement-2, to compare with: it decodes all audio again.

    simuleval --agent eval/peers/whisper_agent.py --model-path FOLDER --task translate \\
        --language fr --source-segment-size 1000 --source LIST --target LIST --output RUN

Macháček et al. 2023 (arXiv:2307.14743): after each second of audio the whole buffer is decoded, and
the words on which two hypotheses in a row agree are written. When the buffer is long, what lies
before the end of a segment whose words are all written is cut off. Needs the extra `peers`.
"""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from simuleval.agents import Action, AgentStates, ReadAction, SpeechToTextAgent, WriteAction
from simuleval.utils import entrypoint

from echostream.extras import extra
from echostream.frontend.resample import resample
from echostream.streaming.clock import SAMPLE_RATE

logger = logging.getLogger(__name__)

TASKS = ("translate", "transcribe")
_PROMPT_CHARACTERS = 200  # of the text before the buffer, which Whisper gets to continue
_SILENT = 0.9  # probability of no speech above which a segment is a hallucination


class Part(NamedTuple):
    """A segment of a hypothesis: its words, and where it ends, in seconds from the first sample."""

    words: tuple[str, ...]
    end: float


class LocalAgreement(NamedTuple):
    """The last hypothesis of a buffer, and how many of its words are written; a value."""

    previous: tuple[str, ...] = ()
    num_written: int = 0

    def update(self, words: Sequence[str]) -> tuple[LocalAgreement, tuple[str, ...]]:
        """With another hypothesis of the buffer, which has grown; and the words to write.

        Those are the longest common prefix of the two, without the words that are written already:
        these are not taken back, whatever a later hypothesis says.
        """
        agreed = 0
        for ours, theirs in zip(self.previous, words, strict=False):
            if ours != theirs:
                break
            agreed += 1
        new = tuple(words[self.num_written : agreed])
        return LocalAgreement(tuple(words), max(self.num_written, agreed)), new

    def finish(self, words: Sequence[str]) -> tuple[str, ...]:
        """The words to write with the last hypothesis of all."""
        return tuple(words[self.num_written :])

    def without(self, num_words: int) -> LocalAgreement:
        """When the audio of the first words, which are written, is cut off the buffer."""
        return LocalAgreement(self.previous[num_words:], self.num_written - num_words)


def cut_of(parts: Sequence[Part], num_written: int) -> tuple[int, float]:
    """How many words and seconds at the beginning of a buffer are finished.

    They end with the last segment whose words are all written; the newest is never finished.
    """
    num_words, seconds, found = 0, 0.0, (0, 0.0)
    for part in parts[:-1]:
        num_words, seconds = num_words + len(part.words), part.end
        if num_words > num_written:
            break
        found = (num_words, seconds)
    return found


class WhisperStates(AgentStates):
    """The samples of a stream from the begin of the buffer on, and what is written."""

    def reset(self) -> None:
        """Begins the next utterance."""
        super().reset()
        self.agreement = LocalAgreement()
        self.begin = 0  # of the buffer, a sample of the source
        self.num_decoded = 0  # samples of the source at the last hypothesis
        self.before: list[str] = []  # words that are written and whose audio is cut off
        self.written: list[str] = []  # words that are written, of the buffer


@entrypoint
class WhisperAgent(SpeechToTextAgent):
    """Translates into English or transcribes with a Whisper model of CTranslate2."""

    def __init__(self, args: Namespace) -> None:
        with extra("peers", "the agent of Whisper"):
            from faster_whisper import WhisperModel
        folder = Path(args.model_path)
        if not (folder / "model.bin").is_file():
            raise ValueError(f"`--model-path` must be a folder with model.bin, but is {folder}.")
        for name in ("min_chunk", "trim_seconds", "beam"):
            if getattr(args, name) <= 0:
                raise ValueError(
                    f"`--{name.replace('_', '-')}` must be positive, but is {getattr(args, name)}."
                )
        on_gpu = str(getattr(args, "device", "cpu")).startswith("cuda")
        self.args = args
        self.whisper = WhisperModel(
            str(folder),
            device="cuda" if on_gpu else "cpu",
            compute_type=args.compute_type or ("float16" if on_gpu else "int8"),
            cpu_threads=args.threads,
            local_files_only=True,
        )
        super().__init__(args)

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        """Declares the flags."""
        parser.add_argument("--model-path", required=True, help="folder of a Whisper model")
        parser.add_argument("--task", choices=TASKS, default="translate")
        parser.add_argument("--language", help="of the source (default: Whisper finds out)")
        for flag, default, what in (
            ("beam", 5, "width of the search"),
            ("min-chunk", 1.0, "s between two hypotheses"),
            ("trim-seconds", 15.0, "s of the buffer above which it is cut"),
            ("threads", 1, "of the CPU"),
        ):
            description = f"{what} (default: {default})"
            parser.add_argument(f"--{flag}", type=type(default), default=default, help=description)
        parser.add_argument("--compute-type", help="of CTranslate2 (default: int8, on GPU float16)")

    def build_states(self) -> WhisperStates:
        """The states of another stream."""
        return WhisperStates()

    def to(self, device: str, *args: object, **kwargs: object) -> None:
        """Nothing: the model stays where it was loaded."""

    def policy(self, states: WhisperStates | None = None) -> Action:
        """WRITE what two hypotheses agree on, and at the end of the source the rest; else READ."""
        states = self.states if states is None else states
        num_samples = len(states.source)
        new = (num_samples - states.num_decoded) / max(states.source_sample_rate, 1)
        if not states.source_finished and new < self.args.min_chunk:
            return ReadAction()
        states.num_decoded = num_samples
        parts = self.hypothesis(states)
        words = [word for part in parts for word in part.words]
        if states.source_finished:
            return WriteAction(" ".join(states.agreement.finish(words)), finished=True)
        states.agreement, agreed = states.agreement.update(words)
        states.written += agreed
        self._trim(states, parts)
        return WriteAction(" ".join(agreed), finished=False) if agreed else ReadAction()

    def hypothesis(self, states: WhisperStates) -> list[Part]:
        """The segments of the buffer, decoded anew."""
        samples: NDArray[Any] = np.asarray(states.source[states.begin :], np.float32)
        if not len(samples):
            return []
        samples = np.asarray(resample(samples, states.source_sample_rate), np.float32)
        segments, _ = self.whisper.transcribe(
            samples,
            language=self.args.language,
            task=self.args.task,
            beam_size=self.args.beam,
            temperature=0.0,  # no sampling: the same audio gives the same text
            initial_prompt=" ".join(states.before)[-_PROMPT_CHARACTERS:] or None,
        )
        return [
            Part(tuple(segment.text.split()), min(segment.end, len(samples) / SAMPLE_RATE))
            for segment in segments
            if segment.no_speech_prob <= _SILENT
        ]

    def _trim(self, states: WhisperStates, parts: Sequence[Part]) -> None:
        rate = states.source_sample_rate
        if len(states.source) - states.begin <= self.args.trim_seconds * rate:
            return
        num_words, seconds = cut_of(parts, states.agreement.num_written)
        states.begin += round(seconds * rate)
        states.agreement = states.agreement.without(num_words)
        states.before += states.written[:num_words]
        del states.written[:num_words]
