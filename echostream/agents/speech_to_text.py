"""Speech in, text out: the translation agent and the recognition agent."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from simuleval.agents import Action, AgentStates, ReadAction, SpeechToTextAgent, WriteAction

from echostream.agents.options import add_args
from echostream.agents.recordings import check_recordings
from echostream.agents.states import StreamStates
from echostream.device import resolve_device
from echostream.model_folder import load_model
from echostream.streaming import SAMPLE_RATE
from echostream.translator import StreamingTranslator

logger = logging.getLogger(__name__)


class SpeechToTextTranslationAgent(SpeechToTextAgent):  # type: ignore[misc]
    """Simultaneous translation. What belongs to a stream lives in its states, never in the agent.

    Raises `ValueError` naming the flag or the file if an argument or the model cannot be used.
    """

    task: ClassVar[str] = "st"

    def __init__(self, args: Namespace) -> None:
        # Before SimulEval's own constructor, which already builds states and resets them.
        self.model = load_model(args.model_path)
        self.session_args: dict[str, Any] = {
            "max_future_frames": args.max_future_frames,
            "lagging_k1": args.lagging_k1,
            "lagging_k2": args.lagging_k2,
            "stride_n": args.stride_n,
            "task": self.task,
        }
        self.extra_output_dir = Path(args.extra_output_dir) if args.extra_output_dir else None
        if self.extra_output_dir is not None:
            # Absolute, because SimulEval may change the working directory after construction.
            self.extra_output_dir = self.extra_output_dir.resolve()
            self.extra_output_dir.mkdir(parents=True, exist_ok=True)
        super().__init__(args)

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        """Declares the flags of `echostream.agents.options`."""
        add_args(parser)

    @classmethod
    def from_args(cls, args: Namespace) -> SpeechToTextTranslationAgent:
        """The agent of a command line, after all recordings that it names have been opened once."""
        check_recordings(args)
        return cls(args)

    def build_states(self) -> StreamStates:
        """The states of one more stream, which shares the model with all others."""
        transcript = self.extra_output_dir is not None
        session = StreamingTranslator(self.model, transcript=transcript, **self.session_args)
        return StreamStates(session)

    def to(self, device: str, *args: object, **kwargs: object) -> None:
        """Moves the model, and begins `self.states` anew; states built elsewhere must be reset."""
        if kwargs.get("fp16"):
            logger.warning("fp16 was asked for; EchoStream computes in float32.")
        self.device = str(resolve_device(device))
        self.model.network.to(self.device)
        # So that the first utterance does not pay for what the device sets up on first use.
        warm_up = StreamingTranslator(self.model, **self.session_args)
        warm_up.push(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
        warm_up.finish()
        self.states.reset()

    def policy(self, states: AgentStates | None = None) -> Action:
        """WRITE the words that have come out since the last call, READ if there are none.

        `finished` is True exactly when the source is.
        """
        states = self.states if states is None else states
        already_closed = states.closed
        text = states.take()
        if not states.source_finished:
            return WriteAction(text, finished=False) if text else ReadAction()
        if not already_closed:
            self._append_transcripts(states)
        return WriteAction(text, finished=True)

    def _append_transcripts(self, states: StreamStates) -> None:
        if self.extra_output_dir is None:
            return
        lines = {"asr.txt": states.source_words}
        if self.task == "st":
            lines["st.txt"] = states.target_words
        for name, words in lines.items():
            with open(self.extra_output_dir / name, "a", encoding="utf-8") as file:
                file.write(" ".join(words) + "\n")


class StreamingASRAgent(SpeechToTextTranslationAgent):
    """Streaming recognition: each source word as soon as it is complete, without a policy."""

    task: ClassVar[str] = "asr"
