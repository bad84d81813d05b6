"""Speech in, text out: the translation agent and the recognition agent."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import ClassVar

from simuleval.agents import Action, AgentStates, ReadAction, SpeechToTextAgent, WriteAction
from simuleval.data.segments import Segment

from echostream.agents.options import add_args
from echostream.agents.recordings import check_recordings
from echostream.agents.states import StreamStates
from echostream.agents.streamspeech_data import apply_data_bin
from echostream.agents.text_output import make_text_output
from echostream.agents.transcripts import Transcripts, finished_utterances
from echostream.device import resolve_device
from echostream.model_folder import load_model
from echostream.session.translator import StreamingTranslator
from echostream.session_config import session_config

logger = logging.getLogger(__name__)


class SpeechToTextTranslationAgent(SpeechToTextAgent):  # type: ignore[misc]
    """Simultaneous translation. What belongs to a stream lives in its states, never in the agent.

    `args` may lack any flag but `model_path`; it then has the default of the command line.

    Raises `ValueError` naming the flag or the file if an argument or the model cannot be used.
    """

    task: ClassVar[str] = "st"
    tgt_lang: str | None = None  # servers read it; StreamSpeech's SimulEval does not have it

    def __init__(self, args: Namespace) -> None:
        args = _with_defaults(args)
        self.model = apply_data_bin(load_model(args.model_path, backend=args.backend), args)
        translates = self.task == "st"
        self.session_config = session_config(args, task=self.task)
        if not translates:  # the text decoder translates
            self.session_config = replace(self.session_config, decoding_method="ctc")
        self.fallback_rate: int = args.sample_rate
        tokenizer = self.model.target_tokenizer if translates else self.model.source_tokenizer
        unit = StreamingTranslator(self.model, self.session_config).emission_unit
        self.text_output = make_text_output(args, tokenizer, unit)
        self.transcripts = Transcripts(
            args.extra_output_dir,
            args.output_asr_translation,
            self.task,
            finished_utterances(args),
        )
        self._asked_device: str | None = None
        # Only now, because SimulEval's constructor already builds states and resets them.
        super().__init__(args)
        # SimulEval moves its agents itself, other callers do not.
        self.to(getattr(args, "device", "cpu"))

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        """Declares the flags of `echostream.agents.options`."""
        add_args(parser)

    @classmethod
    def from_args(cls, args: Namespace) -> SpeechToTextTranslationAgent:
        """The agent of a command line, after the lists and recordings that it names were read."""
        check_recordings(args)
        return cls(args)

    def build_states(self) -> StreamStates:
        """The states of one more stream, which shares the model with all others."""
        session = StreamingTranslator(
            self.model, replace(self.session_config, transcript=self.transcripts.needed)
        )
        return StreamStates(session, self.fallback_rate)

    def to(self, device: str, *args: object, **kwargs: object) -> None:
        """Moves the model, and begins `self.states` anew; states built elsewhere must be reset."""
        if kwargs.get("fp16"):
            logger.warning("fp16 was asked for; EchoStream computes in float32.")
        if str(device) != self._asked_device:
            self.device = str(resolve_device(device))
            self._asked_device = str(device)
            self.model.network.to(self.device)
            StreamingTranslator(self.model, self.session_config).warm_up()
        self.states.reset()

    def policy(self, states: AgentStates | None = None) -> Action:
        """WRITE the text that has come out since the last call, READ if there is none.

        `finished` is True exactly when the source is.
        """
        states = self.states if states is None else states
        already_closed = states.closed
        new = states.take()
        if self.transcripts.shows:
            self.transcripts.show(
                states.source_text if new.heard else None,
                states.target_text if new.written else None,
            )
        text = self.text_output(new.written, new.begins)
        if not states.source_finished:
            return WriteAction(text, False) if text else ReadAction()
        if not already_closed:
            self.transcripts.append(states.source_text, states.target_text)
        states.target_finished = True  # for callers that do not pop
        return WriteAction(text, finished=True)

    def pop(self, states: AgentStates | None = None) -> Segment:
        """SimulEval's, with a segment that can be sent as JSON."""
        segment = super().pop(states)
        # 1.1.4 puts a type where a text has no language, and its server cannot serialise that.
        if not isinstance(getattr(segment, "tgt_lang", ""), str | None):
            segment.tgt_lang = None
        return segment


class StreamingASRAgent(SpeechToTextTranslationAgent):
    """Streaming recognition: each source word as soon as it is complete, without a policy."""

    task: ClassVar[str] = "asr"


def _with_defaults(args: Namespace) -> Namespace:
    """A copy of `args` in which no flag of ours is missing."""
    if not hasattr(args, "model_path"):
        raise ValueError("`model_path` must be given: the folder of a model.")
    parser = ArgumentParser()
    add_args(parser)
    # Only SimulEval's own parser gives the unit that it counts in a value nobody asked for.
    given = {"eval_latency_unit": None, **vars(args)}
    return parser.parse_args(["--model-path", str(args.model_path)], Namespace(**given))
