"""What an agent knows of one stream: its session, and what the session has not yet written."""

from __future__ import annotations

import numpy as np
from simuleval.agents import AgentStates
from simuleval.data.segments import Segment, SpeechSegment

from echostream.translator import Output, StreamingTranslator


class StreamStates(AgentStates):  # type: ignore[misc]
    """Feeds each segment to a session and keeps nothing of it.

    SimulEval's own states append every sample to a list for ever; here `source` and `target` stay
    empty, and only the words of the utterance are kept, for its line in the transcripts.
    """

    def __init__(self, session: StreamingTranslator) -> None:
        self.session = session
        super().__init__()

    def reset(self) -> None:
        """Begins the next utterance."""
        super().reset()
        self.session.reset()
        self.source_words: list[str] = []
        self.target_words: list[str] = []
        self.closed = False  # True when the last words have been taken
        self._waiting: list[Output] = []

    def update_source(self, segment: Segment) -> None:
        """Hears one segment; several may come before the next policy call.

        Raises:
            TypeError: for a segment that is not speech.
        """
        if isinstance(segment, SpeechSegment):
            self.source_sample_rate = segment.sample_rate
            self.tgt_lang = segment.tgt_lang
            if len(segment.content):
                samples = np.asarray(segment.content, dtype=np.float32)
                self._waiting += self.session.push(samples, segment.sample_rate)
        elif not segment.is_empty:
            raise TypeError(f"`segment` must be speech, but is a {type(segment).__name__} instead.")
        self.source_finished = segment.finished

    def update_target(self, segment: Segment) -> None:
        """Notes only whether the target is finished."""
        self.target_finished = segment.finished

    def take(self) -> str:
        """The words that no one has taken yet; at the end of the source, all that are left."""
        if self.source_finished:
            self._waiting += self.session.finish()  # nothing the second time
            self.closed = True
        outputs, self._waiting = self._waiting, []
        words = [output.text for output in outputs if output.text]
        self.target_words += words
        self.source_words += [output.source_text for output in outputs if output.source_text]
        return " ".join(words)
