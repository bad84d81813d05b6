"""One stream: its audio and text buffers, and the step that is batched over streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from echostream.device import adapt_to_fork
from echostream.frontend.online import StreamFeatures, collate
from echostream.models import CtcOutput
from echostream.session.decoding import NewTokens
from echostream.session.settings import SessionSettings, StreamState
from echostream.session.speech import SpeechState
from echostream.session.speech_queue import (
    GROUP_SAMPLES,
    Speaker,
    SpeechQueue,
    speak_group,
    speak_rest,
)
from echostream.streaming import GROUP_OUTPUTS
from echostream.text.detokenizer import join_text, make_assembler


def _no_samples() -> NDArray[np.float32]:
    return np.zeros(0, np.float32)


@dataclass(frozen=True)
class Output:
    """Words that came out at the same time; they are never revised.

    With the unit "char" the words are single characters, spaces among them. `joined_text` gives the
    text of several outputs with either unit.
    """

    words: tuple[str, ...]
    delay_ms: float  # source audio received when they came out
    final: bool  # True for the words that came out at the end of the stream
    source_words: tuple[str, ...] = ()  # new source words; only with `transcript=True`
    unit: str = "word"  # of `words`: word or char
    source_unit: str = "word"  # of `source_words`
    # (S,) float32 at 16 kHz, to be played after those before; only with `speech=True`
    samples: NDArray[np.float32] = field(default_factory=_no_samples, compare=False)
    units: tuple[int, ...] = ()  # of the samples

    @property
    def text(self) -> str:
        """The words as text."""
        return join_text(self.words, self.unit)

    @property
    def source_text(self) -> str:
        """The source words as text."""
        return join_text(self.source_words, self.source_unit)


def joined_text(outputs: Iterable[Output]) -> str:
    """The text of successive outputs of one stream."""
    outputs = list(outputs)
    words = (word for output in outputs for word in output.words)
    return join_text(words, outputs[0].unit) if outputs else ""


def joined_source_text(outputs: Iterable[Output]) -> str:
    """The source text of successive outputs of one stream."""
    outputs = list(outputs)
    words = (word for output in outputs for word in output.source_words)
    return join_text(words, outputs[0].source_unit) if outputs else ""


def refuse_to_copy(session: object) -> NoReturn:
    """Raises `TypeError`: a session cannot be pickled or copied."""
    raise TypeError(
        f"a {type(session).__name__} cannot be pickled or copied, because the resampler and the "
        "filter bank of a stream cannot: make another one of the same `Model`, which can."
    )


class Stream:
    """The buffers of a stream; its tensors are a row of a `StreamState`.

    `features` holds the frames that are not encoded yet, `_pending` the target tokens that are not
    written yet, each assembler the incomplete word.
    """

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        model = settings.model
        self.features = StreamFeatures(model.cmvn, model.config.tail_ms, settings.max_future_frames)
        self._source = make_assembler(model.source_tokenizer, settings.source_unit)
        self._target = make_assembler(model.target_tokenizer, settings.target_unit)
        self._pending: list[int] = []
        self._new_source: list[str] = []
        self._new_target: list[str] = []
        self.speech = SpeechQueue()
        self.closed = False  # whether the remaining tokens have been decoded

    def get_state(self) -> dict[str, Any]:
        """All that the stream has beside its row, as values; see `set_state`."""
        return {
            "features": self.features.get_state(),
            "source": self._source.get_state(),
            "target": self._target.get_state(),
            "pending": self._pending,
            "new_source": self._new_source,
            "new_target": self._new_target,
            "speech": self.speech.get_state(),
            "closed": self.closed,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes the state of another stream with the same settings."""
        self.features.set_state(state["features"])
        self._source.set_state(state["source"])
        self._target.set_state(state["target"])
        self._pending = list(state["pending"])
        self._new_source, self._new_target = list(state["new_source"]), list(state["new_target"])
        self.speech = SpeechQueue.from_state(state["speech"])
        self.closed = state["closed"]

    @property
    def at_end(self) -> bool:
        """Whether the source has ended and all of it has been encoded."""
        return self.features.finished and not self.features.num_groups

    @property
    def ready(self) -> bool:
        """Whether there are groups to encode, words for `take_output`, or a stream to close."""
        new = self._new_source or self._new_target or self.speech.samples
        return bool(self.features.num_groups or self.at_end or new)

    def emitted(self, steps: Sequence[NewTokens]) -> list[list[int]]:
        """The tokens that successive steps write, without adding them."""
        pending, emitted = list(self._pending), []
        for new in steps:
            pending += new.target
            emitted.append(pending[: new.num_emitted])
            pending = pending[new.num_emitted :]
        return emitted

    def add(self, new: NewTokens) -> None:
        """Adds the tokens of a step."""
        (emitted,) = self.emitted([new])
        self._pending = [*self._pending, *new.target][new.num_emitted :]
        self._new_source += self._source.push(new.source)
        self._new_target += self._target.push(emitted)

    def close(self, last: NewTokens) -> None:
        """Adds the last tokens of a stream that is `at_end`, and completes the last words."""
        self.add(last)
        self._new_source += self._source.finish()
        self._new_target += self._target.finish()
        self.closed = True

    def take_output(self) -> list[Output]:
        """The new words since the last call, at most one output."""
        source, self._new_source = tuple(self._new_source), []
        target, self._new_target = tuple(self._new_target), []
        settings, config = self._settings, self._settings.config
        words = source if config.task == "asr" else target
        shown = source if config.transcript else ()
        samples = np.concatenate([_no_samples(), *self.speech.samples])
        units, self.speech = self.speech.units, replace(self.speech, samples=(), units=())
        if not (words or shown or len(samples)):
            return []
        return [
            Output(
                words,
                self.features.delay_ms,
                self.at_end,
                shown,
                settings.emission_unit,
                settings.source_unit,
                samples,
                units,
            )
        ]


def step_streams(
    settings: SessionSettings, streams: Sequence[Stream], num_groups: int, state: StreamState
) -> StreamState:
    """Encodes and decodes the next groups of all streams in one batch; returns their states.

    If it raises, nothing is changed.
    """
    adapt_to_fork()
    chunks = [stream.features.peek(num_groups) for stream in streams]
    x, valid = collate(chunks, settings.network.device)
    output, network = settings.network.step(x, state.network, valid)
    speaker = settings.speaker
    size = num_groups if speaker is None else 1  # the clock of speech is the group
    decoding, found = state.decoding, list[list[NewTokens]]()
    for start in range(0, num_groups, size):
        new, decoding = settings.method.step(_groups(output, start, start + size), decoding)
        found.append(new)
    queues, spoken = [stream.speech for stream in streams], state.speech
    if speaker is not None:
        queues, spoken = _speak(speaker, streams, found, state)
    for row, stream in enumerate(streams):
        stream.features.pop(num_groups)
        for new in found:
            stream.add(new[row])
        stream.speech = queues[row]
    return StreamState(network, decoding, spoken)


def close_streams(
    settings: SessionSettings, streams: Sequence[Stream], state: StreamState
) -> StreamState:
    """Decodes the remaining tokens of streams that are `at_end`; returns their states.

    If it raises, nothing is changed.
    """
    last, decoding = settings.method.finish(state.decoding)
    last = [new._replace(ends=True) for new in last]
    queues, spoken = [stream.speech for stream in streams], state.speech
    if settings.speaker is not None:
        queues, spoken = _speak(settings.speaker, streams, [last], state, 0)
        queues, spoken = speak_rest(settings.speaker, queues, spoken)
    for row, stream in enumerate(streams):
        stream.close(last[row])
        stream.speech = queues[row]
    return StreamState(state.network, decoding, spoken)


def _speak(
    speaker: Speaker[Any],
    streams: Sequence[Stream],
    found: Sequence[Sequence[NewTokens]],
    state: StreamState,
    num_samples: int = GROUP_SAMPLES,
) -> tuple[list[SpeechQueue], SpeechState | tuple[()]]:
    """Speaks what is written after each of the groups `found`; changes nothing of the streams."""
    queues, spoken = [stream.speech for stream in streams], state.speech
    emitted = [stream.emitted([new[row] for new in found]) for row, stream in enumerate(streams)]
    for group, new in enumerate(found):
        tokens, ends = [mine[group] for mine in emitted], [one.ends for one in new]
        queues, spoken = speak_group(speaker, queues, tokens, ends, spoken, num_samples)
    return queues, spoken


def _groups(output: CtcOutput, start: int, stop: int) -> CtcOutput:
    """The groups from `start` to `stop` of an output."""
    frames = slice(start * GROUP_OUTPUTS, stop * GROUP_OUTPUTS)
    return CtcOutput(*(field[:, frames] for field in output))
