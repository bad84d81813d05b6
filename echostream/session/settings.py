"""What all streams of a session share: the model, and options checked against it."""

from __future__ import annotations

from typing import NamedTuple

from echostream.backends.protocol import Network
from echostream.device import adapt_to_fork
from echostream.model_folder import Model
from echostream.models.echostream import ModelState, resolve_max_future_frames
from echostream.session.decoding import DecodingMethod, DecodingState, make_decoding_method
from echostream.session.speech import Speech, SpeechState
from echostream.session_config import SessionConfig


class StreamState(NamedTuple):
    """All tensors of `B` streams."""

    network: ModelState
    decoding: DecodingState
    speech: SpeechState | tuple[()] = ()  # empty without speech


class SessionSettings:
    """Model and options shared by all streams of a session. Stateless.

    Raises:
        ValueError: if the model was not trained for this L, or has no text decoder though the
            decoding method needs one.
    """

    def __init__(self, model: Model, config: SessionConfig) -> None:
        adapt_to_fork()
        self.model = model
        self.config = config
        self.network: Network = model.network
        self.max_future_frames = resolve_max_future_frames(
            config.max_future_frames, self.network.max_future_frames
        )
        self.method: DecodingMethod = make_decoding_method(self.network, config)
        # The option is the unit of the output text; the other text has that of the model.
        self.source_unit = model.config.source_emission_unit
        self.target_unit = model.config.target_emission_unit
        if config.emission_unit != "auto" and config.task == "asr":
            self.source_unit = config.emission_unit
        elif config.emission_unit != "auto":
            self.target_unit = config.emission_unit
        self.emission_unit = self.source_unit if config.task == "asr" else self.target_unit
        self.speech = _speech(model, config) if config.speech else None

    def init_state(self, batch_size: int) -> StreamState:
        """The state of `batch_size` new streams."""
        return StreamState(
            self.network.init_state(batch_size, self.max_future_frames),
            self.method.init_state(batch_size),
            () if self.speech is None else self.speech.init_state(batch_size),
        )


def _speech(model: Model, config: SessionConfig) -> Speech:
    if model.speech is None:
        raise ValueError(
            "`speech` needs a model with a unit decoder and a vocoder, which this one lacks."
        )
    if config.task != "st":
        raise ValueError(f"`speech` needs the task st, but it is {config.task} instead.")
    if config.refine_steps and model.speech.refiner is None:
        raise ValueError(
            "`refine_steps` must be 0 with a model without a refiner, but is "
            f"{config.refine_steps} instead."
        )
    return Speech(
        model.speech.unit_decoder,
        model.speech.vocoder,
        model.target_tokenizer,
        model.config.target_emission_unit,
        model.speech.silence_unit,
        refiner=model.speech.refiner,
        refine_steps=config.refine_steps,
    )
