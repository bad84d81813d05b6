"""The states of an agent: the session of one stream, and its outputs that are not written yet."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from simuleval.agents import AgentStates
from simuleval.data.segments import Segment, SpeechSegment

from echostream.scoring.metrics.backlog import Backlog, backlog
from echostream.scoring.timeline import Timeline
from echostream.session.translator import (
    Output,
    StreamingTranslator,
    joined_source_text,
    joined_text,
)
from echostream.streaming.clock import SAMPLE_RATE

logger = logging.getLogger(__name__)


class NewText(NamedTuple):
    """The new text and samples since the last call of `take`."""

    output: str  # to write
    source: str  # words of the transcript
    is_first: bool  # whether the utterance had no output before
    samples: NDArray[np.float32]  # (S,) of the speech, 16 kHz


class StreamStates(AgentStates):  # type: ignore[misc]
    """Pushes each segment to a session and does not keep its samples.

    SimulEval's own states append every sample to a list that is never emptied. Here `source` and
    `target` stay empty; only the text of the utterance is kept, for its line in the transcripts. A
    caller may also append samples to `source` (and set `source_sample_rate`) without a segment:
    `take` pushes them before it returns text, and does not change the list.

    Args:
        session: with `transcript=True` if source words are needed, too.
        fallback_rate: sample rate of audio that comes without one (0 or -1), in Hz.
    """

    def __init__(self, session: StreamingTranslator, fallback_rate: int) -> None:
        self.session = session
        self._fallback_rate = fallback_rate
        self._warned = False
        super().__init__()

    def reset(self) -> None:
        """Begins the next utterance."""
        super().reset()
        self.session.reset()
        self._taken: list[Output] = []
        self.units: list[int] = []  # of the speech of the utterance, as far as it has been taken
        self.writes: list[tuple[float, float]] = []  # delay and duration of its speech, in ms
        self.closed = False  # True after the last text has been taken
        self._pending: list[Output] = []
        self._num_pushed = 0  # samples of `source` that were pushed to the session

    def update_source(self, segment: Segment) -> None:
        """Pushes one segment; there may be several before the next call of the policy.

        Raises:
            TypeError: for a segment that is not speech.
        """
        if isinstance(segment, SpeechSegment):
            if segment.sample_rate is not None and segment.sample_rate > 0:
                self.source_sample_rate = segment.sample_rate
            language = getattr(segment, "tgt_lang", None)
            self.tgt_lang = language if isinstance(language, str) else None
            self._push(segment.content)
        elif not segment.is_empty:
            raise TypeError(f"`segment` must be speech, but is a {type(segment).__name__} instead.")
        self.source_finished = segment.finished

    def speak(self, num_samples: int) -> None:
        """Notes that samples of speech are written now."""
        if num_samples:
            self.writes.append((self.session.delay_ms, 1000 * num_samples / SAMPLE_RATE))

    @property
    def backlog(self) -> Backlog:
        """The backlog of the utterance so far, as SimulEval plays its writes."""
        delays, durations = zip(*self.writes, strict=True) if self.writes else ((), ())
        return backlog(Timeline(delays, (), self.session.delay_ms, None, durations))

    def update_target(self, segment: Segment) -> None:
        """Stores only whether the target is finished."""
        self.target_finished = segment.finished

    @property
    def source_text(self) -> str:
        """The source text of the utterance so far; "" unless the session makes transcripts."""
        return joined_source_text(self._taken)

    @property
    def target_text(self) -> str:
        """The text of the utterance so far, as far as it has been taken."""
        return joined_text(self._taken)

    def take(self) -> NewText:
        """The text since the last call; at the end of the source, all remaining text.

        Raises:
            ValueError: if `source` is shorter than before, but not empty.
        """
        self._push_source()
        if self.source_finished:
            self._pending += self.session.finish()  # an empty list in a second call
            self.closed = True
        outputs, self._pending = self._pending, []
        is_first = not any(output.text for output in self._taken)
        samples = [np.zeros(0, np.float32), *(output.samples for output in outputs)]
        self.units += [unit for output in outputs for unit in output.units]
        self._taken += [replace(output, samples=samples[0], units=()) for output in outputs]
        return NewText(
            joined_text(outputs), joined_source_text(outputs), is_first, np.concatenate(samples)
        )

    def _push_source(self) -> None:
        length = len(self.source)
        if 0 < length < self._num_pushed:
            raise ValueError(
                f"`states.source` must keep the {self._num_pushed} samples that were translated, "
                f"or be emptied, but has {length} instead."
            )
        self._push(self.source[self._num_pushed :])
        self._num_pushed = length

    def _push(self, samples: Any) -> None:
        if not len(samples):
            return
        if self.source_sample_rate <= 0 and not self._warned:
            logger.warning(
                "The audio has no sample rate: %d Hz is assumed (`--sample-rate`).",
                self._fallback_rate,
            )
            self._warned = True
        rate = self.source_sample_rate if self.source_sample_rate > 0 else self._fallback_rate
        self._pending += self.session.push(np.asarray(samples, dtype=np.float32), rate)
