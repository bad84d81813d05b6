"""The options of a session, declared once for Python, the agents, the commands, simulstream."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from echostream.config import EMISSION_UNITS, ConfigError
from echostream.ranges import make_plain

DECODING_METHODS = ("ctc", "decoder")
MAX_REFINE_STEPS = 8


def _option(
    default: Any,
    text: str,
    choices: tuple[Any, ...] = (),
    least: int | None = None,
    old_name: str | None = None,
    most: int | None = None,
) -> Any:
    """A field with its allowed values, its help text, and its name in an earlier release."""
    about = {"help": text, "choices": choices, "least": least, "most": most}
    about["old_name"] = old_name
    return dataclasses.field(default=default, metadata=about)


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    """The options of a session. A new option is a new field here, and the code that uses it.

    Raises `ConfigError`, a ValueError, naming the option if a value is not allowed.
    """

    max_future_frames: int | None = _option(
        None,
        "look-ahead L of the encoder in bottleneck frames of 160 ms each "
        "(default: the smallest that the model was trained for)",
    )
    lagging_k1: int = _option(
        0, "target tokens to stay behind what the translation CTC head has found", least=0
    )
    lagging_k2: int = _option(
        0, "source tokens to wait for before the first target token is written", least=0
    )
    stride_n: int = _option(
        1,
        "tokens by which both CTC heads must grow before a WRITE; WRITEs are multiples of it",
        least=1,
    )
    task: str = _option(
        "st", "st writes the translation, asr each complete source word", ("st", "asr")
    )
    transcript: bool = _option(False, "also output the source words", (False, True))
    decoding_method: str = _option(
        "ctc",
        "what chooses the target tokens: the translation CTC head, or the text decoder of a model "
        "that has one",
        DECODING_METHODS,
        old_name="writer",
    )
    speech: bool = _option(
        False, "also output the translation as speech, by a model that has a vocoder", (False, True)
    )
    refine_steps: int = _option(
        0,
        "rounds of the refiner over the units of a word before it is spoken, 0 to 8, by a model "
        "that has a refiner",
        least=0,
        most=MAX_REFINE_STEPS,
    )
    emission_unit: str = _option(
        "auto",
        "output whole words, or characters for a language without spaces, for which SimulEval "
        "needs --eval-latency-unit char; auto is the unit of the model's configuration",
        ("auto", *EMISSION_UNITS),
    )

    def __post_init__(self) -> None:
        make_plain(self)
        for field in dataclasses.fields(SessionConfig):
            value = getattr(self, field.name)
            choices, least = field.metadata["choices"], field.metadata["least"]
            most = field.metadata["most"]
            if choices and value not in choices:
                allowed = f"one of {', '.join(map(str, choices))}"
            elif least is not None and (type(value) is not int or value < least):
                allowed = f"an integer >= {least}"
            elif most is not None and value > most:
                allowed = f"at most {most}"
            else:
                continue
            raise ConfigError(f"`{field.name}` must be {allowed}, but is {value!r} instead.")

    @classmethod
    def of(cls, config: SessionConfig | None, options: Mapping[str, Any]) -> SessionConfig:
        """`config`, or one made from single options; for functions that take either.

        Raises:
            TypeError: for both at once, a `config` of another type, or an unknown option.
        """
        if config is None:
            return cls(**new_names(options))
        if not isinstance(config, SessionConfig):
            raise TypeError(
                f"`config` must be a SessionConfig, but is {config!r} instead. Options are given "
                "by name, as in max_future_frames=1."
            )
        if options:
            raise TypeError(f"`{next(iter(options))}` must be set in `config` if that is given.")
        return config


def new_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with names of an earlier release replaced by the current ones.

    Raises `ConfigError` if both names of an option are given.
    """
    current = dict(options)
    for field in dataclasses.fields(SessionConfig):
        if (old := field.metadata["old_name"]) in current:
            if field.name in current:
                raise ConfigError(
                    f"`{old}` must not be given together with `{field.name}`, its current name."
                )
            current[field.name] = current.pop(old)
    return current


def add_session_flags(parser: ArgumentParser, but: Collection[str] = ()) -> None:
    """Declares a flag for each option, except for those named in `but`."""
    for field in dataclasses.fields(SessionConfig):
        if field.name in but:
            continue
        names = [
            f"--{name.replace('_', '-')}"
            for name in (field.name, field.metadata["old_name"])
            if name
        ]
        text, choices = field.metadata["help"], field.metadata["choices"]
        if field.default is not None:
            text = f"{text} (default: {field.default})"
        if isinstance(field.default, bool):
            parser.add_argument(names[0], action="store_true", help=field.metadata["help"])
        elif choices:
            parser.add_argument(
                *names, dest=field.name, choices=choices, default=field.default, help=text
            )
        else:
            parser.add_argument(names[0], type=int, default=field.default, help=text)


def session_config(args: Namespace, **settled: Any) -> SessionConfig:
    """The options in `args`; those in `settled` override them."""
    names = {field.name for field in dataclasses.fields(SessionConfig)}
    given = {name: value for name, value in new_names(vars(args)).items() if name in names}
    return SessionConfig(**{**given, **settled})
