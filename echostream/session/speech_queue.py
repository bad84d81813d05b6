"""Speech is a queue: words wait until they are spoken, speech until it is played.

The clock is that of the source, in whole groups, so that the samples depend on the audio alone and
not on how it is cut into pushes. A player begins a stretch of speech when the one before it has
ended, or at once. What is spoken and not yet played is the backlog.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from echostream.models.word_encoder import END_OF_TEXT
from echostream.streaming.clock import GROUP_UNITS, SAMPLE_RATE, UNIT_SAMPLES
from echostream.streaming.state import State
from echostream.text.spoken_words import SpokenWord, last_word, spoken_words
from echostream.text.tokenizer import Tokenizer

GROUP_SAMPLES = GROUP_UNITS * UNIT_SAMPLES
MAX_BACKLOG = SAMPLE_RATE  # samples; words are spoken faster or wait, so that there is not more
MAX_WAITING = 256  # words, about a minute of speech: the state of a stream has a constant size
FAST = 1.25  # divides the durations, at most
# Shares of `MAX_BACKLOG` from which on words are faster, and as fast as may be. The fewer the
# better: a recogniser makes twice the errors at 1.12, and four times at 1.25.
SOME, MUCH = 0.4, 0.8


@dataclass(frozen=True)
class SpeechQueue:
    """The speech of one stream on the clock of its player. A value: each step makes a new one."""

    unfinished: tuple[int, ...] = ()  # tokens of the last word, which has not been spoken
    waiting: tuple[SpokenWord, ...] = ()  # complete words that have not been spoken
    next_samples: int = 0  # that the first of them adds, if it has been tried and must wait
    clock: int = 0  # samples of the source in the groups so far
    end: int = 0  # clock at which the player ends
    longest_backlog: int = 0  # in samples
    silent: bool = True  # whether the speech so far ends in silence
    samples: tuple[NDArray[np.float32], ...] = ()  # not taken yet
    units: tuple[int, ...] = ()  # spoken since the last take
    max_backlog: int = MAX_BACKLOG

    def get_state(self) -> dict[str, Any]:
        """The fields as plain values and arrays."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SpeechQueue:
        """The queue of `get_state`, whose tuples may be lists."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in state.items()
        }
        words = (SpokenWord(tuple(tokens), following) for tokens, following in values["waiting"])
        return cls(**{**values, "waiting": tuple(words)})

    @property
    def backlog(self) -> int:
        """Samples that are committed and not yet played."""
        return max(0, self.end - self.clock)

    @property
    def text_has_ended(self) -> bool:
        """Whether the last word that waits is the last one of its text."""
        return bool(self.waiting) and self.waiting[-1].following == END_OF_TEXT

    def is_late(self, num_samples: int = 0) -> bool:
        """Whether the backlog with so many samples more exceeds its bound."""
        return self.backlog + num_samples > self.max_backlog

    @property
    def runs_dry(self) -> bool:
        """Whether the player has ended before the speech of the next group is there."""
        return self.backlog < GROUP_SAMPLES

    @property
    def may_speak(self) -> bool:
        """Whether there is a word that need not wait, as far as its length is known.

        Later a word is spoken less fast, if at all, so it is not shorter than when it was tried.
        """
        return bool(self.waiting) and not self._must_wait(self.next_samples)

    def tried(self, spoken: SpeechQueue) -> SpeechQueue:
        """The queue after a try to speak the next word: `spoken`, or this one if the word waits.

        It waits for the next group if the backlog exceeds its bound with it, unless the player runs
        dry meanwhile, or too many words wait.
        """
        num_samples = spoken.end - max(self.end, self.clock)
        return replace(self, next_samples=num_samples) if self._must_wait(num_samples) else spoken

    def _must_wait(self, num_samples: int) -> bool:
        is_full = len(self.waiting) > MAX_WAITING
        return self.is_late(num_samples) and not self.runs_dry and not is_full

    @property
    def speed(self) -> float:
        """Divides the durations of the next word: from 1 to `FAST`, the more the backlog is."""
        share = (self.backlog / self.max_backlog - SOME) / (MUCH - SOME)
        return 1 + (FAST - 1) * min(max(share, 0), 1)

    def play(self, samples: NDArray[np.float32], units: Sequence[int], silent: bool) -> SpeechQueue:
        """Appends samples and their units; `silent` says whether they end in silence."""
        queue = replace(
            self,
            samples=(*self.samples, samples) if len(samples) else self.samples,
            units=(*self.units, *units),
            next_samples=0,
            end=max(self.end, self.clock) + len(samples),
            silent=silent,
        )
        return replace(queue, longest_backlog=max(queue.backlog, self.longest_backlog))


class Speaker(Protocol[State]):
    """What speaks complete words: the units of a model, or a voice."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Of the target text."""

    @property
    def target_unit(self) -> str:
        """Of the target text: word or char."""

    def init_state(self, batch_size: int) -> State:
        """The state of `batch_size` new streams."""

    def speak(self, queues: Sequence[SpeechQueue], state: State) -> tuple[list[SpeechQueue], State]:
        """Speaks words that wait in each queue, as many as the bound of its backlog allows.

        What is spoken depends on the queue and its row of the state alone.
        """


def speak_group(
    speaker: Speaker[State],
    queues: Sequence[SpeechQueue],
    tokens: Sequence[Sequence[int]],
    ends: Sequence[bool],
    state: State,
    num_samples: int = GROUP_SAMPLES,
) -> tuple[list[SpeechQueue], State]:
    """Speaks after one more group of the source.

    `tokens` are the newly committed ones of each stream, `ends` marks streams whose text has ended
    with them; `num_samples` is the length of the group.
    """
    queues = [
        _commit(speaker, replace(queue, clock=queue.clock + num_samples), new, end)
        for queue, new, end in zip(queues, tokens, ends, strict=True)
    ]
    return speaker.speak(queues, state)


def speak_rest(
    speaker: Speaker[State], queues: Sequence[SpeechQueue], state: State
) -> tuple[list[SpeechQueue], State]:
    """Speaks all words that wait, after the end of the source; the clock goes on meanwhile."""
    queues = list(queues)
    while any(queue.waiting for queue in queues):
        nothing = [()] * len(queues)
        queues, state = speak_group(speaker, queues, nothing, [False] * len(queues), state)
    return queues, state


def speak_text(speaker: Speaker[State], text: str) -> NDArray[np.float32]:
    """The speech (S,) of a whole text, in [-1, 1]; without words it is empty."""
    tokens = speaker.tokenizer.encode(text)
    unhurried = SpeechQueue(max_backlog=sys.maxsize)
    (queue,), _ = speak_group(speaker, [unhurried], [tokens], [True], speaker.init_state(1))
    return np.concatenate([np.zeros(0, np.float32), *queue.samples]).clip(-1, 1)


def _commit(
    speaker: Speaker[State], queue: SpeechQueue, tokens: Sequence[int], ends: bool
) -> SpeechQueue:
    words, unfinished = spoken_words(
        speaker.tokenizer, speaker.target_unit, tokens, queue.unfinished
    )
    if ends:
        words, unfinished = [*words, *last_word(unfinished)], ()
    return replace(queue, unfinished=unfinished, waiting=(*queue.waiting, *words))
