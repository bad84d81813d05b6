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
from echostream.agents.states import NewText, StreamStates
from echostream.agents.streamspeech_data import streamspeech_data_bin
from echostream.agents.text_output import make_text_output
from echostream.agents.transcripts import Transcripts, finished_utterances
from echostream.device import resolve_device
from echostream.model_folder import Model, load_model
from echostream.session.translator import StreamingTranslator
from echostream.session_config import new_names, session_config

logger = logging.getLogger(__name__)


class SpeechToTextTranslationAgent(SpeechToTextAgent):  # type: ignore[misc]
    """Simultaneous translation. The states hold all data of a stream; the agent holds none.

    A flag that `args` lacks has the default of the command line; only `model_path` is required.

    Raises `ValueError` naming the flag or the file if an argument or the model cannot be used.
    """

    task: ClassVar[str] = "st"
    speaks: ClassVar[bool] = False
    tgt_lang: str | None = None  # read by servers; StreamSpeech's SimulEval does not define it

    def __init__(self, args: Namespace) -> None:
        args = self._with_defaults(args)
        self.model = self.load(args)
        translates = self.task == "st"
        self.session_config = session_config(args, task=self.task, speech=self.speaks)
        if not translates:  # the text decoder only translates
            self.session_config = replace(self.session_config, decoding_method="ctc", policy="ctc")
        self.fallback_rate: int = args.sample_rate
        tokenizer = self.model.target_tokenizer if translates else self.model.source_tokenizer
        unit = StreamingTranslator(self.model, self.session_config).emission_unit
        self.text_output = make_text_output(args, tokenizer, unit)
        self.transcripts = Transcripts(
            args.extra_output_dir,
            args.output_asr_translation,
            self.task,
            finished_utterances(args),
            self.speaks and self.model.voice is None,
        )
        self._requested_device: str | None = None
        # Last, because SimulEval's constructor builds states and resets them.
        super().__init__(args)
        # SimulEval calls `to` itself, other callers do not.
        self.to(getattr(args, "device", "cpu"))

    @classmethod
    def _with_defaults(cls, args: Namespace) -> Namespace:
        """A copy of `args` with the defaults of missing flags."""
        if not hasattr(args, "model_path"):
            raise ValueError("`model_path` must be given: the folder of a model.")
        parser = ArgumentParser()
        cls.add_args(parser)
        # None, and not the default, marks a caller other than SimulEval.
        given = {"eval_latency_unit": None, **new_names(vars(args))}
        return parser.parse_args(["--model-path", str(args.model_path)], Namespace(**given))

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        """Declares the flags of `echostream.agents.options`."""
        add_args(parser)

    def load(self, args: Namespace) -> Model:
        """The model that the flags name."""
        return streamspeech_data_bin(load_model(args.model_path, backend=args.backend), args)

    @classmethod
    def from_args(cls, args: Namespace) -> SpeechToTextTranslationAgent:
        """An agent, after a check of the lists and recordings that the command line names."""
        check_recordings(args)
        return cls(args)

    def build_states(self) -> StreamStates:
        """The states of another stream; all streams share the model."""
        session = StreamingTranslator(
            self.model, replace(self.session_config, transcript=self.transcripts.needed)
        )
        return StreamStates(session, self.fallback_rate)

    def to(self, device: str, *args: object, **kwargs: object) -> None:
        """Moves the model and resets `self.states`; other states must be reset by the caller."""
        if kwargs.get("fp16"):
            logger.warning("fp16 was requested, but EchoStream computes in float32.")
        if str(device) != self._requested_device:
            self.device = str(resolve_device(device))
            self._requested_device = str(device)
            self.model.to(self.device)
            StreamingTranslator(self.model, self.session_config).warm_up()
        self.states.reset()

    def policy(self, states: AgentStates | None = None) -> Action:
        """WRITE the new text since the last call, READ if there is none.

        `finished` is True exactly when the source is.
        """
        states = self.states if states is None else states
        already_closed = states.closed
        new = states.take()
        self.show(states, new)
        text = self.text_output(new.output, new.is_first)
        if not states.source_finished:
            return WriteAction(text, False) if text else ReadAction()
        if not already_closed:
            self.transcripts.append(states.source_text, states.target_text)
        states.target_finished = True  # for callers that do not call `pop`
        return WriteAction(text, finished=True)

    def show(self, states: StreamStates, new: NewText) -> None:
        """Prints the texts of the utterance so far, if that is wanted and there is a new word."""
        if self.transcripts.shows:
            self.transcripts.show(
                states.source_text if new.source else None,
                states.target_text if new.output else None,
            )

    def pop(self, states: AgentStates | None = None) -> Segment:
        """As SimulEval's, but the segment can be serialised as JSON."""
        segment = super().pop(states)
        # 1.1.4 sets a type as the language of a text without one; its server cannot serialise it.
        if not isinstance(getattr(segment, "tgt_lang", ""), str | None):
            segment.tgt_lang = None
        return segment


class StreamingASRAgent(SpeechToTextTranslationAgent):
    """Streaming recognition: writes each source word once it is complete, without a policy."""

    task: ClassVar[str] = "asr"
