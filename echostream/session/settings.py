"""What all streams of a session have in common: the model, and options that fit it."""

from __future__ import annotations

from typing import NamedTuple

from echostream.backends.protocol import Network
from echostream.device import adapt_to_fork
from echostream.model_folder import Model
from echostream.models.echostream import ModelState
from echostream.session.decoding import DecodingMethod, DecodingState, make_decoding_method
from echostream.session_config import SessionConfig


class StreamState(NamedTuple):
    """All tensors of `B` streams."""

    network: ModelState
    decoding: DecodingState


class SessionSettings:
    """A model and the options of a session, checked against it. It holds nothing of a stream.

    Raises:
        ValueError: if the model was not trained for this L, or has no text decoder though the
            decoding method needs one.
    """

    def __init__(self, model: Model, config: SessionConfig) -> None:
        adapt_to_fork()
        self.model = model
        self.config = config
        self.network: Network = model.network
        trained = self.network.max_future_frames
        look_ahead = min(trained) if config.max_future_frames is None else config.max_future_frames
        if type(look_ahead) is not int or look_ahead not in trained:
            raise ValueError(
                f"`max_future_frames` must be one of {', '.join(map(str, sorted(trained)))}, which "
                f"the model was trained for, but is {config.max_future_frames!r} instead."
            )
        self.max_future_frames = look_ahead
        self.method: DecodingMethod = make_decoding_method(self.network, config)
        # The option is the unit of the text that is written; the other text has the model's.
        self.source_unit = model.config.source_emission_unit
        self.target_unit = model.config.target_emission_unit
        if config.emission_unit != "auto" and config.task == "asr":
            self.source_unit = config.emission_unit
        elif config.emission_unit != "auto":
            self.target_unit = config.emission_unit
        self.emission_unit = self.source_unit if config.task == "asr" else self.target_unit

    def init_state(self, batch_size: int) -> StreamState:
        """The state of `batch_size` new streams."""
        return StreamState(
            self.network.init_state(batch_size, self.max_future_frames),
            self.method.init_state(batch_size),
        )
