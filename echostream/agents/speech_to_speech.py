"""Speech in, speech out: the speech-to-speech translation agent."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace

from simuleval.agents import Action, AgentStates, ReadAction, WriteAction
from simuleval.data.segments import SpeechSegment

from echostream.agents.options import add_args
from echostream.agents.speech_to_text import SpeechToTextTranslationAgent
from echostream.agents.vocoder import with_voice
from echostream.doctor.speech_scoring import patch_speech_scoring
from echostream.model_folder import Model
from echostream.session_config import add_voice_flag
from echostream.streaming.clock import SAMPLE_RATE, UNIT_SAMPLES

logger = logging.getLogger(__name__)


class SpeechToSpeechTranslationAgent(SpeechToTextTranslationAgent):
    """Simultaneous speech-to-speech translation with a vocoder or a voice.

    Writes 16 kHz samples as soon as words are spoken. SimulEval plays them after each
    other and inserts silence where it waits. An utterance without words is one unit of zeros,
    because SimulEval needs a sample of each.
    """

    target_type = "speech"
    speaks = True

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        """Declares the flags of `echostream.agents.options`, and those of what speaks."""
        add_args(parser)
        add_voice_flag(parser)
        parser.add_argument(
            "--vocoder-lookahead-frames",
            type=int,
            default=19,
            help="frames of 20 ms that a CodeHiFiGAN waits for: 19 is exact, 0 is StreamSpeech's "
            "behaviour (default: 19)",
        )

    def load(self, args: Namespace) -> Model:
        """The model with what speaks."""
        return with_voice(super().load(args), args)

    @classmethod
    def from_args(cls, args: Namespace) -> SpeechToSpeechTranslationAgent:
        """An agent, after a check of the lists and recordings that the command line names."""
        patch_speech_scoring()
        if getattr(args, "continue_unfinished", False):
            logger.warning(
                "`--continue-unfinished`: SimulEval's scores of speech are those of the utterances "
                "of this run alone. `echostream score` takes all of the log."
            )
        agent = super().from_args(args)
        assert isinstance(agent, cls)
        return agent

    def policy(self, states: AgentStates | None = None) -> Action:
        """WRITE the new samples since the last call, READ if there are none."""
        states = self.states if states is None else states
        already_closed = states.closed
        new = states.take()
        self.show(states, new)
        samples = new.samples.tolist()
        if states.source_finished and not already_closed and not states.writes:
            samples = samples or [0.0] * UNIT_SAMPLES
        states.speak(len(samples))
        if not states.source_finished:
            return WriteAction(_segment(samples, False), False) if samples else ReadAction()
        if not already_closed:
            texts = states.source_text, states.target_text
            self.transcripts.append(*texts, states.units, states.backlog)
        states.target_finished = True  # for callers that do not call `pop`
        return WriteAction(_segment(samples, True), finished=True)


def _segment(samples: list[float], finished: bool) -> SpeechSegment:
    return SpeechSegment(content=samples, sample_rate=SAMPLE_RATE, finished=finished)
