"""What all streams of a session have in common: the model, the look-ahead, the policy, the task."""

from __future__ import annotations

from echostream.backends.protocol import Network
from echostream.config import EMISSION_UNITS
from echostream.device import adapt_to_fork
from echostream.model_folder import Model
from echostream.models.echostream import ModelState
from echostream.session.decoding import Writer
from echostream.session.policy import Policy

TASKS = ("st", "asr")
UNITS = ("auto", *EMISSION_UNITS)


class Interpreter:
    """Who listens and what is made of it; it holds nothing of a stream.

    The arguments are those of `StreamingTranslator`, which says what they mean and what is raised.
    """

    def __init__(
        self,
        model: Model,
        max_future_frames: int | None,
        policy: Policy,
        writer: str,
        task: str,
        transcript: bool,
        emission_unit: str,
    ) -> None:
        adapt_to_fork()
        for name, value, allowed in (
            ("task", task, TASKS),
            ("emission_unit", emission_unit, UNITS),
            ("transcript", transcript, (False, True)),
        ):
            if value not in allowed:
                options = ", ".join(map(str, allowed))
                raise ValueError(f"`{name}` must be one of {options}, but is {value!r} instead.")
        self.model = model
        self.network: Network = model.network
        trained = self.network.max_future_frames
        self.max_future_frames = min(trained) if max_future_frames is None else max_future_frames
        if type(self.max_future_frames) is not int or self.max_future_frames not in trained:
            raise ValueError(
                f"`max_future_frames` must be one of {', '.join(map(str, sorted(trained)))}, which "
                f"the model was trained for, but is {max_future_frames!r} instead."
            )
        self.writer = Writer(self.network, policy, writer)
        self.task = task
        self.transcript = transcript
        # What is asked for is the unit of what is written; the other text has the model's.
        self.source_unit = model.config.source_emission_unit
        self.target_unit = model.config.target_emission_unit
        if emission_unit != "auto" and task == "asr":
            self.source_unit = emission_unit
        elif emission_unit != "auto":
            self.target_unit = emission_unit
        self.unit = self.source_unit if task == "asr" else self.target_unit

    def init_state(self, num_streams: int) -> ModelState:
        """What the network remembers of streams that have not begun."""
        return self.network.init_state(num_streams, self.max_future_frames)
