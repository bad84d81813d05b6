"""What all streams of a session have in common: the model, the look-ahead, the policy, the task."""

from __future__ import annotations

from echostream.model_folder import Model
from echostream.models.echostream import ModelState
from echostream.network import Network
from echostream.policy import Policy
from echostream.writer import Writer

TASKS = ("st", "asr")


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
    ) -> None:
        if task not in TASKS:
            raise ValueError(f"`task` must be one of {', '.join(TASKS)}, but is {task!r} instead.")
        self.model = model
        self.network: Network = model.network
        self.max_future_frames = (
            min(self.network.max_future_frames) if max_future_frames is None else max_future_frames
        )
        self.writer = Writer(self.network, policy, writer)
        self.task = task
        self.transcript = transcript

    def init_state(self, num_streams: int) -> ModelState:
        """What the network remembers of streams that have not begun."""
        return self.network.init_state(num_streams, self.max_future_frames)
