"""A model to serve, and how, as plain values that another process can be given."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from echostream.config import ConfigError
from echostream.model_folder import load_model
from echostream.server.examples import Example, find_examples
from echostream.server.handover import Store
from echostream.server.service import Service
from echostream.server.settings import FIXED_OPTIONS, ServerSettings
from echostream.session_config import SessionConfig


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model folder and all options of its server.

    Raises:
        ConfigError: naming the field if a value is not allowed.
    """

    model: str  # its folder
    device: str = "cpu"
    backend: str = "torch"  # or onnx, onnx-int8
    voice: str | None = None  # see `--voice`
    speech: bool = True  # sent if the model has it
    source_language: str | None = None  # None: from the name of the folder, as in fr-en-demo
    target_language: str | None = None
    examples: str | None = None  # a folder of recordings that the page offers
    about: str = ""  # a sentence on the page: what the model can translate
    session: SessionConfig = field(default_factory=SessionConfig)  # of a session that asks for none
    server: ServerSettings = field(default_factory=ServerSettings)

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("`model` must be a model folder, but is empty.")
        for name in FIXED_OPTIONS:
            if getattr(self.session, name) != getattr(SessionConfig, name):
                raise ConfigError(f"`session.{name}` must not be set: the server sets it.")

    def open(self, store: Store | None) -> tuple[Service, tuple[Example, ...]]:
        """Loads the model; its service, and the recordings for the page.

        store: where sessions wait that move to another server, see `Service`.

        Raises what loading a model raises, and ValueError for examples that do not fit.
        """
        folder = Path(self.model)
        model = load_model(folder, self.device, self.backend, self.voice)
        has_speech = model.voice is not None or (
            model.speech is not None and bool(model.speech.vocoder)
        )
        name = folder.resolve().name
        service = Service(
            model,
            name,
            replace(self.session, speech=has_speech and self.speech),
            self.server,
            self._languages(name),
            self.about,
            store,
        )
        return service, find_examples(Path(self.examples)) if self.examples else ()

    def _languages(self, name: str) -> tuple[str | None, str | None]:
        """Source and target language: as given, or the first two parts of the name."""
        found = re.match(r"([a-z]{2,3})-([a-z]{2,3})(?:-|$)", name)
        source, target = found.groups() if found else (None, None)
        return self.source_language or source, self.target_language or target
