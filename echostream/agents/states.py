"""What an agent knows of one stream: its session, and what the session has not yet written."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
from simuleval.agents import AgentStates
from simuleval.data.segments import Segment, SpeechSegment

from echostream.session.translator import (
    Output,
    StreamingTranslator,
    joined_source_text,
    joined_text,
)

logger = logging.getLogger(__name__)


class NewText(NamedTuple):
    """What came out since the last time: the text to write, and the text heard in the source."""

    written: str
    heard: str
    begins: bool  # whether nothing was written before


class StreamStates(AgentStates):  # type: ignore[misc]
    """Feeds each segment to a session and keeps nothing of it.

    SimulEval's own states append every sample to a list for ever; here `source` and `target` stay
    empty, and only the text of the utterance is kept, for its line in the transcripts. A caller
    may as well put samples into `source` (and a rate into `source_sample_rate`) without a segment:
    what was added there is heard before the next text is taken, and the list left as it is.

    Args:
        session: with `transcript=True` if the words of the source are wanted too.
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
        self.closed = False  # True when the last text has been taken
        self._waiting: list[Output] = []
        self._num_heard = 0  # samples of `source` that the session has had

    def update_source(self, segment: Segment) -> None:
        """Hears one segment; several may come before the next policy call.

        Raises:
            TypeError: for a segment that is not speech.
        """
        if isinstance(segment, SpeechSegment):
            if segment.sample_rate is not None and segment.sample_rate > 0:
                self.source_sample_rate = segment.sample_rate
            language = getattr(segment, "tgt_lang", None)
            self.tgt_lang = language if isinstance(language, str) else None
            self._hear(segment.content)
        elif not segment.is_empty:
            raise TypeError(f"`segment` must be speech, but is a {type(segment).__name__} instead.")
        self.source_finished = segment.finished

    def update_target(self, segment: Segment) -> None:
        """Notes only whether the target is finished."""
        self.target_finished = segment.finished

    @property
    def source_text(self) -> str:
        """The source text of the utterance so far; "" unless the session makes transcripts."""
        return joined_source_text(self._taken)

    @property
    def target_text(self) -> str:
        """What has been taken of the text of the utterance."""
        return joined_text(self._taken)

    def take(self) -> NewText:
        """The text that no one has taken yet; at the end of the source, all that is left.

        Raises:
            ValueError: if `source` has lost samples, unless it was emptied.
        """
        self._hear_source()
        if self.source_finished:
            self._waiting += self.session.finish()  # nothing the second time
            self.closed = True
        outputs, self._waiting = self._waiting, []
        begins = not any(output.text for output in self._taken)
        self._taken += outputs
        return NewText(joined_text(outputs), joined_source_text(outputs), begins)

    def _hear_source(self) -> None:
        length = len(self.source)
        if 0 < length < self._num_heard:
            raise ValueError(
                f"`states.source` must keep the {self._num_heard} samples that were heard, or be "
                f"emptied, but has {length} instead."
            )
        self._hear(self.source[self._num_heard :])
        self._num_heard = length

    def _hear(self, samples: Any) -> None:
        if not len(samples):
            return
        if self.source_sample_rate <= 0 and not self._warned:
            logger.warning(
                "The audio comes without a sample rate: taken to be %d Hz (`--sample-rate`).",
                self._fallback_rate,
            )
            self._warned = True
        rate = self.source_sample_rate if self.source_sample_rate > 0 else self._fallback_rate
        self._waiting += self.session.push(np.asarray(samples, dtype=np.float32), rate)
