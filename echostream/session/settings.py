"""What all streams of a session share: the model, and options checked against it."""

from __future__ import annotations

from typing import Any, NamedTuple

from echostream.backends.protocol import Network
from echostream.device import adapt_to_fork
from echostream.model_folder import Model
from echostream.models.echostream import ModelState, resolve_max_future_frames
from echostream.session.decoder_policy import EACH_TOKEN, WordStarts
from echostream.session.decoding import DecodingMethod, DecodingState, make_decoding_method
from echostream.session.speech import SpeechState, UnitSpeaker
from echostream.session.speech_queue import Speaker
from echostream.session.voice_speaker import VoiceSpeaker
from echostream.session_config import SessionConfig


class StreamState(NamedTuple):
    """All tensors of `B` streams."""

    network: ModelState
    decoding: DecodingState
    speech: SpeechState | tuple[()] = ()  # empty without speech and with a voice


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
        self.method: DecodingMethod = make_decoding_method(
            self.network, config, _word_starts(model)
        )
        # The option is the unit of the output text; the other text has that of the model.
        self.source_unit = model.config.source_emission_unit
        self.target_unit = model.config.target_emission_unit
        if config.emission_unit != "auto" and config.task == "asr":
            self.source_unit = config.emission_unit
        elif config.emission_unit != "auto":
            self.target_unit = config.emission_unit
        self.emission_unit = self.source_unit if config.task == "asr" else self.target_unit
        self.speaker: Speaker[Any] | None = _speaker(model, config) if config.speech else None

    def init_state(self, batch_size: int) -> StreamState:
        """The state of `batch_size` new streams."""
        return StreamState(
            self.network.init_state(batch_size, self.max_future_frames),
            self.method.init_state(batch_size),
            () if self.speaker is None else self.speaker.init_state(batch_size),
        )


def _word_starts(model: Model) -> WordStarts:
    """What begins a word of each language; each token, if it is written without spaces."""
    source, target = model.source_tokenizer.starts_word, model.target_tokenizer.starts_word
    return WordStarts(
        source if model.config.source_emission_unit == "word" else EACH_TOKEN.source,
        target if model.config.target_emission_unit == "word" else EACH_TOKEN.target,
    )


def _speaker(model: Model, config: SessionConfig) -> Speaker[Any]:
    voice, parts = model.voice, model.speech
    if config.task != "st":
        raise ValueError(f"`speech` needs the task st, but it is {config.task} instead.")
    if config.refine_steps and (voice is not None or parts is None or parts.refiner is None):
        what = "a model without a refiner" if voice is None else "a voice"
        raise ValueError(
            f"`refine_steps` must be 0 with {what}, but is {config.refine_steps} instead."
        )
    tokenizer, unit = model.target_tokenizer, model.config.target_emission_unit
    if voice is not None:
        return VoiceSpeaker(voice, tokenizer, unit)
    if parts is None:
        raise ValueError(
            "`speech` needs a model with a unit decoder and a vocoder, which this one lacks, or a "
            "voice."
        )
    if parts.vocoder is None:
        raise ValueError(
            f"`speech` needs a vocoder for the units {parts.unit_decoder.units} of this model: for "
            "an agent, --vocoder and --vocoder-cfg name a CodeHiFiGAN."
        )
    return UnitSpeaker(
        parts.unit_decoder,
        parts.vocoder,
        tokenizer,
        unit,
        parts.silence_unit,
        refiner=parts.refiner,
        refine_steps=config.refine_steps,
    )
