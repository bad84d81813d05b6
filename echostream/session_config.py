"""The options of a session, declared once for Python, the agents, the commands, simulstream."""

from __future__ import annotations

import dataclasses
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from echostream.config import EMISSION_UNITS, ConfigError
from echostream.ranges import make_plain, shown

DECODING_METHODS = ("ctc", "decoder")
POLICIES = "ctc, wait-k:K or alignatt:F with K or F from 1 to 999"
MAX_REFINE_STEPS = 8
_GROUP_MS = 160  # of `streaming.clock`, which imports PyTorch: `--help` would wait for it


def _option(
    default: Any,
    text: str,
    choices: tuple[Any, ...] = (),
    least: int | None = None,
    old_name: str | None = None,
    most: int | None = None,
    kind: type = int,
) -> Any:
    """A field with its allowed values, its help text, and its name in an earlier release."""
    about: dict[str, Any] = {"help": text, "choices": choices, "least": least, "most": most}
    about |= {"old_name": old_name, "kind": kind}
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
    policy: str = _option(
        "ctc",
        "how far the text decoder may write: ctc, what the translation CTC head has counted; "
        "wait-k:K, K source words ahead of the target words; alignatt:F, until it attends to one "
        "of the newest F frames of 40 ms",
        kind=str,
    )
    utterance_pause_ms: int = _option(
        640,
        "silence of the source, in steps of 160 ms, that ends an utterance of the text decoder; "
        "0 if each recording is one utterance",
        least=0,
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
        if self.utterance_pause_ms % _GROUP_MS:
            raise ConfigError(
                f"`utterance_pause_ms` must be a multiple of {_GROUP_MS}, "
                f"but is {self.utterance_pause_ms} instead."
            )
        name, _ = read_policy(self.policy)
        if name == "ctc":
            return
        if self.decoding_method != "decoder":
            raise ConfigError(
                f"`decoding_method` must be decoder with the policy {self.policy}, "
                f"but is {self.decoding_method} instead."
            )
        for option in ("lagging_k1", "lagging_k2", "stride_n"):
            default, value = getattr(SessionConfig, option), getattr(self, option)
            if value != default:
                raise ConfigError(
                    f"`{option}` must be {default} with the policy {self.policy}, which does not "
                    f"use it, but is {value} instead."
                )

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


def read_policy(policy: object) -> tuple[str, int]:
    """The name of a policy of the text decoder, and its number; 0 for ctc.

    Raises `ConfigError` for any other text.
    """
    if policy == "ctc":
        return "ctc", 0
    found = re.fullmatch("(wait-k|alignatt):([1-9][0-9]{0,2})", str(policy))
    if not isinstance(policy, str) or found is None:
        raise ConfigError(f"`policy` must be {POLICIES}, but is {shown(policy)} instead.")
    return found[1], int(found[2])


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
            kind = field.metadata["kind"]
            parser.add_argument(names[0], type=kind, default=field.default, help=text)


def add_voice_flag(parser: ArgumentParser) -> None:
    """Declares `--voice`: what speaks in place of the units of a model."""
    parser.add_argument(
        "--voice",
        metavar="VOICE",
        help="speak with a voice instead of the units of the model, which needs none then: "
        "piper:FOLDER, a folder with NAME.onnx and NAME.onnx.json; piper, the voice of the extra "
        "`voices`; or espeak:LANGUAGE",
    )


def session_config(args: Namespace, **settled: Any) -> SessionConfig:
    """The options in `args`; those in `settled` override them."""
    names = {field.name for field in dataclasses.fields(SessionConfig)}
    given = {name: value for name, value in new_names(vars(args)).items() if name in names}
    return SessionConfig(**{**given, **settled})
