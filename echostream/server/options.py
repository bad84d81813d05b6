"""What a client asks for in `session.update`, checked against what the server offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from echostream.frontend.audio import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from echostream.server.events import CLIENT_RATE, EXTENSION, ProtocolError, echoed, field
from echostream.server.service import Service
from echostream.session_config import SessionConfig


@dataclass(frozen=True)
class Options:
    """The options of one session."""

    config: SessionConfig
    language: str | None  # of the translation
    transcription: str | None = None  # the model named for the source text; None: do not send it
    sample_rate: int = CLIENT_RATE  # of the client's audio
    resume: bool = False  # whether the client comes back to a session that has moved

    def described(self) -> dict[str, Any]:
        """The `audio` of a session, and what the protocol does not have."""
        transcription = None if self.transcription is None else {"model": self.transcription}
        return {
            "audio": {
                "input": {"transcription": transcription, "noise_reduction": None},
                "output": {"language": self.language},
            },
            EXTENSION: {
                "sample_rate": self.sample_rate,
                "max_future_frames": self.config.max_future_frames,
                "decoding_method": self.config.decoding_method,
                "speech": self.config.speech,
                "resume": self.resume,
            },
        }


def default_options(service: Service) -> Options:
    """The options of a session that asks for none."""
    return Options(service.config, service.languages[1])


def updated(options: Options, session: object, service: Service) -> Options:
    """The options after a `session.update`; what it does not name stays.

    Raises:
        ProtocolError: naming the first field that is not allowed. Nothing is changed then.
    """
    session = field(session, "session", dict, "an object") or {}
    audio = field(session.get("audio"), "session.audio", dict, "an object") or {}
    output = field(audio.get("output"), "session.audio.output", dict, "an object") or {}
    given = field(audio.get("input"), "session.audio.input", dict, "an object") or {}
    if "language" in output:
        options = replace(options, language=_language(output["language"], service))
    if given.get("noise_reduction") is not None:
        raise ProtocolError(
            "unsupported_value",
            "`session.audio.input.noise_reduction` must be null: this server has none.",
            "session.audio.input.noise_reduction",
        )
    if "transcription" in given:
        options = replace(options, transcription=_transcription(given["transcription"]))
    path = f"session.{EXTENSION}"
    extension = field(session.get(EXTENSION), path, dict, "an object") or {}
    return _extended(options, extension, service)


def _language(language: object, service: Service) -> str | None:
    path = "session.audio.output.language"
    target = service.languages[1]
    asked = field(language, path, str, "a language code")
    if asked is None or (target is not None and asked.lower().split("-")[0] == target):
        return asked or target
    has = "no named language; see --target-language" if target is None else f"{target} only"
    raise ProtocolError(
        "unsupported_language",
        f"`{path}` must be a language of the model, which has {has}, but is {asked!r:.40} instead.",
        path,
    )


def _transcription(transcription: object) -> str | None:
    path = "session.audio.input.transcription"
    asked = field(transcription, path, dict, "an object or null")
    if asked is None:
        return None
    field(asked.get("model"), f"{path}.model", str, "a text")
    return str(echoed(asked.get("model"), f"{path}.model") or "default")


def _extended(options: Options, extension: Mapping[str, Any], service: Service) -> Options:
    path = f"session.{EXTENSION}"
    config = options.config
    offered: dict[str, tuple[Any, ...]] = {
        "max_future_frames": service.look_aheads,
        "decoding_method": service.methods,
        "speech": (False, True) if service.can_speak else (False,),
    }
    chosen = {name: getattr(config, name) for name in offered}
    for name, value in extension.items():
        if name == "sample_rate":
            if type(value) is not int or not MIN_SAMPLE_RATE <= value <= MAX_SAMPLE_RATE:
                raise ProtocolError(
                    "invalid_value",
                    f"`{path}.sample_rate` must be a whole number of Hz from {MIN_SAMPLE_RATE} to "
                    f"{MAX_SAMPLE_RATE}, but is {value!r:.40} instead.",
                    f"{path}.sample_rate",
                )
            options = replace(options, sample_rate=value)
        elif name == "resume":
            if type(value) is not bool:
                raise ProtocolError(
                    "invalid_value", f"`{path}.resume` must be true or false.", f"{path}.resume"
                )
            options = replace(options, resume=value)
        elif name not in offered:
            names = ", ".join([*offered, "sample_rate", "resume"])
            raise ProtocolError(
                "unknown_parameter",
                f"`{path}` has the fields {names}, but not {name!r:.40}.",
                f"{path}.{name[:40]}",
            )
        elif not any(type(value) is type(choice) and value == choice for choice in offered[name]):
            allowed = ", ".join(map(str, offered[name]))
            raise ProtocolError(
                "unsupported_value",
                f"`{path}.{name}` must be one of {allowed}, but is {value!r:.40} instead.",
                f"{path}.{name}",
            )
        else:
            chosen[name] = value
    variant = service.variant(*(chosen[name] for name in offered))
    return replace(options, config=variant)
