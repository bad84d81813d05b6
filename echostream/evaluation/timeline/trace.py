"""What a session does with a recording, group by group: spikes, counts, tokens and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.config import BLANK_ID
from echostream.frontend.online import StreamFeatures, collate
from echostream.model_folder import Model
from echostream.session.decoding import NewTokens
from echostream.session.settings import SessionSettings
from echostream.session.token_counts import as_counts, ids_of
from echostream.session_config import SessionConfig
from echostream.streaming.clock import OUTPUT_STRIDE
from echostream.text.detokenizer import make_assembler
from echostream.text.tokenizer import Tokenizer

PUSH_MS = 10  # the precision of the times
_FRAME_MS = 10 * OUTPUT_STRIDE  # of the outputs of the heads


class Spike(NamedTuple):
    """A token of a CTC head: where in the audio, in ms, and its text."""

    ms: float
    text: str


class Group(NamedTuple):
    """The counts after a group."""

    ms: float  # source audio that its encoding needed
    num_asr: int  # tokens found by the heads
    num_st: int
    num_written: int  # target tokens that the policy has allowed
    num_words: int  # complete words


class Word(NamedTuple):
    """A target word, and the source audio in ms after which each thing was so."""

    text: str
    found: float | None  # the ST head has found its last token; None for other policies
    allowed: float  # the policy has allowed its last token
    complete: float  # the next word or a pause has shown that it is complete


@dataclass(frozen=True)
class Trace:
    """What a session does with a recording; nothing of it depends on the length of segments."""

    asr: list[Spike] = field(default_factory=list)
    st: list[Spike] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    source_words: list[tuple[str, float]] = field(default_factory=list)


class _Tracer:
    """The decoding of one stream with a record of its times."""

    def __init__(self, settings: SessionSettings, trace: Trace) -> None:
        model = settings.model
        self.settings, self.trace = settings, trace
        self.network = settings.network.init_state(1, settings.max_future_frames)
        self.decoding = settings.method.init_state(1)
        self.source = make_assembler(model.source_tokenizer, settings.source_unit)
        self.target = make_assembler(model.target_tokenizer, settings.target_unit)
        self.pending: list[int] = []
        self.found: list[float] = []  # of each token of the ST head
        self.allowed: list[float] = []  # of each target token that is written
        self.last = [BLANK_ID, BLANK_ID]
        self.num_groups = 0

    def step(self, features: StreamFeatures, ms: float) -> None:
        """Encodes and decodes the next group."""
        settings = self.settings
        x, valid = collate([features.peek(1)], settings.network.device)
        output, self.network = settings.network.step(x, self.network, valid)
        new, self.decoding = settings.method.step(output, self.decoding)
        features.pop(1)
        (ids,) = ids_of(output)
        heads = (ids.asr, settings.model.source_tokenizer, self.trace.asr)
        self._spikes(0, *heads)
        self._spikes(1, ids.st, settings.model.target_tokenizer, self.trace.st)
        self.num_groups += 1
        (counts,) = as_counts(self.decoding.counts)
        self.found += [ms] * (counts.num_st - len(self.found))
        self.add(new[0], ms)
        num_words = len(self.trace.words)
        group = Group(ms, counts.num_asr, counts.num_st, len(self.allowed), num_words)
        self.trace.groups.append(group)

    def _spikes(
        self, head: int, ids: Sequence[int], tokenizer: Tokenizer, spikes: list[Spike]
    ) -> None:
        for frame, index in enumerate(ids):
            if index < 0:  # padding of the last group
                continue
            if index not in (BLANK_ID, self.last[head]):
                ms = _FRAME_MS * (len(ids) * self.num_groups + frame)
                spikes.append(Spike(ms, tokenizer.surface(index)))
            self.last[head] = index

    def add(self, new: NewTokens, ms: float, last: bool = False) -> None:
        """Adds tokens and the words that are complete with them."""
        self.trace.source_words.extend((word, ms) for word in self.source.push(new.source))
        tokens = [*self.pending, *new.target]
        self.pending = tokens[new.num_emitted :]
        for token in tokens[: new.num_emitted]:
            self._words(self.target.push([token]), ms)
            self.allowed.append(ms)
        if last:
            self.trace.source_words.extend((word, ms) for word in self.source.finish())
            self._words(self.target.finish(), ms)

    def _words(self, words: Sequence[str], ms: float) -> None:
        """Words whose last token is the newest one."""
        position = len(self.allowed) - 1
        counted = self.settings.config.policy == "ctc" and 0 <= position < len(self.found)
        found = self.found[position] if counted else None
        allowed = self.allowed[position] if position >= 0 else ms
        self.trace.words.extend(Word(word, found, allowed, ms) for word in words)


def trace(
    model: Model, config: SessionConfig, samples: NDArray[np.float32], sample_rate: int
) -> Trace:
    """Translates a recording (S,) or (S, C) and keeps a record.

    Raises ValueError as a session does.
    """
    settings, found = SessionSettings(model, config), Trace()
    features = StreamFeatures(model.cmvn, model.config.tail_ms, settings.max_future_frames)
    tracer = _Tracer(settings, found)
    size = max(1, sample_rate * PUSH_MS // 1000)
    with torch.inference_mode():
        for start in range(0, len(samples), size):
            features.push(samples[start : start + size], sample_rate)
            while features.num_groups:
                tracer.step(features, features.delay_ms)
        features.finish()
        while features.num_groups:
            tracer.step(features, features.delay_ms)
        (last,), _ = settings.method.finish(tracer.decoding)
        tracer.add(last, features.delay_ms, last=True)
    return found
