"""Adapter for simulstream: a speech processor for its servers and its inference command.

In simulstream's configuration, `type: echostream.simulstream.EchoStreamProcessor`; the other keys
are the fields of `ProcessorConfig`. No other module imports simulstream.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from echostream.config import ConfigError, check_emission_unit, from_dict
from echostream.extras import extra
from echostream.model_folder import Model, load_model
from echostream.session.translator import Output, StreamingTranslator
from echostream.session_config import SessionConfig, new_names

with extra("simulstream", "echostream.simulstream"):
    from simulstream.server.speech_processors import SAMPLE_RATE, SpeechProcessor
    from simulstream.server.speech_processors.incremental_output import IncrementalOutput

logger = logging.getLogger(__name__)

# Keys of simulstream's voice activity detector, which shares the configuration of its processor.
_OF_THE_VAD = ("vad_", "base_speech_processor_class", "min_speech_size")


@dataclass(frozen=True, kw_only=True)
class ProcessorConfig(SessionConfig):
    """The keys of a processor: those here, and all options of a session.

    simulstream's scorers read the same file.
    """

    type: str  # the class, for simulstream
    speech_chunk_size: float  # seconds
    model_path: str  # relative to the working directory
    device: str = "cpu"
    backend: str = "torch"
    source_lang: str | None = None  # the languages of the model, whose folder does not name them
    target_lang: str | None = None
    detokenizer_type: str = "simuleval"  # for the scorers: the tokens of the log are words,
    latency_unit: str = "word"  # or characters

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.speech_chunk_size > 0:
            raise ConfigError(
                "`speech_chunk_size` must be a positive number of seconds, "
                f"but is {self.speech_chunk_size} instead."
            )
        if self.detokenizer_type != "simuleval":
            raise ConfigError(
                "`detokenizer_type` must be 'simuleval', because the log holds plain text, "
                f"but is {self.detokenizer_type!r} instead."
            )
        check_emission_unit("latency_unit", self.latency_unit)


class EchoStreamProcessor(SpeechProcessor):  # type: ignore[misc]
    """The stream of one client. All processors of a process share one model; no token is deleted.

    Raises:
        ConfigError: if a key of the configuration is unknown, missing or not allowed.
        RuntimeError: if the model has not been loaded with `load_model`.
        ValueError: if an option does not fit the model.
    """

    _models: ClassVar[dict[tuple[Path, str, str], Model]] = {}

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__(config)
        self.settings = _read(config)
        key = _model_key(self.settings)
        if key not in self._models:
            raise RuntimeError(f"{key[0]} is not loaded: call `load_model(config)` first.")
        self._session = _make_session(self._models[key], self.settings)

    @classmethod
    def load_model(cls, config: SimpleNamespace) -> None:
        """Loads the model of `config.model_path`, once for all processors that use it.

        Raises `ModelFolderError`, `ConfigError` or `ValueError` naming what cannot be used.
        """
        settings = _read(config)
        key = _model_key(settings)
        if key in cls._models:  # simulstream calls it for each processor of its pool
            return
        model = load_model(*key)
        _make_session(model, settings).warm_up()
        cls._models[key] = model

    def process_chunk(self, waveform: NDArray[np.float32]) -> IncrementalOutput:
        """The new words after `waveform` (S,), at 16 kHz and in [-1, 1]."""
        return self._incremental(self._session.push(waveform, SAMPLE_RATE))

    def end_of_stream(self) -> IncrementalOutput:
        """The remaining words. The next chunk begins another stream, because simulstream's voice
        activity detector ends a stream at each pause without calling `clear`."""
        last = self._session.finish()
        self._session.reset()
        return self._incremental(last)

    def clear(self) -> None:
        """Discards the stream, finished or not."""
        self._session.reset()

    def tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens, such that clients can concatenate successive texts: a space after
        each word, characters unchanged."""
        after = " " if self._session.emission_unit == "word" else ""
        return "".join(f"{token}{after}" for token in tokens)

    def set_source_language(self, language: str) -> None:
        """Checks that `language` is the model's. Raises ValueError if it is another."""
        _check_language("source_lang", self.settings.source_lang, language)

    def set_target_language(self, language: str) -> None:
        """Checks that `language` is the model's. Raises ValueError if it is another."""
        _check_language("target_lang", self.settings.target_lang, language)

    def _incremental(self, outputs: Sequence[Output]) -> IncrementalOutput:
        # A space between characters is a token, too: simulstream's scorers join without spaces.
        tokens = [word for output in outputs for word in output.words]
        return IncrementalOutput(
            new_tokens=tokens,
            new_string=self.tokens_to_string(tokens),
            deleted_tokens=[],
            deleted_string="",
        )


def _read(config: SimpleNamespace) -> ProcessorConfig:
    values = {k: v for k, v in vars(config).items() if not k.startswith(_OF_THE_VAD)}
    return from_dict(ProcessorConfig, new_names(values), "simulstream's configuration")


def _make_session(model: Model, settings: ProcessorConfig) -> StreamingTranslator:
    session = StreamingTranslator(model, settings)
    if session.emission_unit != settings.latency_unit:
        raise ConfigError(
            f"`latency_unit` must be {session.emission_unit!r}, the emission unit of the session, "
            f"but is {settings.latency_unit!r} instead."
        )
    return session


def _model_key(settings: ProcessorConfig) -> tuple[Path, str, str]:
    return Path(settings.model_path).resolve(), settings.device, settings.backend


def _check_language(key: str, configured: str | None, requested: str) -> None:
    if configured is None:
        logger.warning(
            "%s %r was requested, but the configuration does not name the languages of the model: "
            "set `%s` to have it checked.",
            *(key, requested, key),
        )
    elif requested.lower() != configured.lower():
        raise ValueError(
            f"`{key}` must be {configured!r}, that of the model, but is {requested!r} instead."
        )
