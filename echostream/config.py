"""Configurations: frozen dataclasses, read from YAML. An unknown key is an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

Config = TypeVar("Config")

EMISSION_UNITS = ("word", "char")  # what text is given out by: see echostream/detokenizer.py


class ConfigError(ValueError):
    """A configuration with a key or a value that is not allowed."""


@dataclass(frozen=True)
class EncoderConfig:
    """The encoder; the fields are the arguments of `ZipformerEncoder`."""

    input_dim: int = 80  # fbank bins
    embed_dim: int = 512
    num_heads: int = 8
    ffn_dim: int = 2048  # hidden width of the two feed-forwards of a block together
    num_layers_per_stack: int | tuple[int, ...] = 2
    memory_size: int = 4  # summaries in the memory bank
    conv_kernel: int = 15
    left_context: int = 64  # frames, of its own rate, that each layer sees of the past


@dataclass(frozen=True)
class ModelConfig:
    """The network: encoder, two CTC heads, and a text decoder if `decoder_layers` is not 0."""

    source_vocab_size: int
    target_vocab_size: int
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    st_layers: int = 2
    st_ffn_dim: int = 1024
    st_left_context: int = 128  # frames at 25 Hz
    decoder_layers: int = 0
    decoder_ffn_dim: int = 1024
    decoder_left_tokens: int = 64  # target tokens, before the last one, that a token sees
    decoder_window: int = 128  # frames at 25 Hz that a token sees; before them, summaries
    max_future_frames: tuple[int, ...] = (0, 1, 2)  # look-aheads L that it is trained for
    tail_ms: int = 640  # silence after the end of the source, in which the last words come out
    source_emission_unit: str = "word"  # char for a language without spaces between words
    target_emission_unit: str = "word"

    def __post_init__(self) -> None:
        if not self.max_future_frames or not set(self.max_future_frames) <= {0, 1, 2}:
            raise ConfigError(
                f"`max_future_frames` must be some of 0, 1 and 2, "
                f"but is {self.max_future_frames} instead."
            )
        if self.decoder_layers < 0:
            raise ConfigError(
                f"`decoder_layers` must be at least 0, but is {self.decoder_layers} instead."
            )
        if self.decoder_window < 4 or self.decoder_window % 4:
            raise ConfigError(
                "`decoder_window` must be a positive multiple of 4 frames (a group), "
                f"but is {self.decoder_window} instead."
            )
        if self.tail_ms < 0 or self.tail_ms % 10:
            raise ConfigError(
                f"`tail_ms` must be a multiple of 10 ms, but is {self.tail_ms} instead."
            )
        check_emission_unit("source_emission_unit", self.source_emission_unit)
        check_emission_unit("target_emission_unit", self.target_emission_unit)


def check_emission_unit(key: str, unit: str) -> None:
    """Raises `ConfigError` naming `key` if `unit` is not one of `EMISSION_UNITS`."""
    if unit not in EMISSION_UNITS:
        raise ConfigError(
            f"`{key}` must be one of {', '.join(EMISSION_UNITS)}, but is {unit!r} instead."
        )


def from_dict(kind: type[Config], values: Mapping[str, Any], where: str = "config") -> Config:
    """A configuration of dataclass `kind` from a mapping of its fields.

    Raises:
        ConfigError: naming `where` and the key, if a key is unknown or missing, or its value is
            not allowed.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} must be a mapping of keys, but is {values!r} instead.")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields), key=str)
    if unknown:
        raise ConfigError(
            f"{where}: `{unknown[0]}` is not a key; the keys are {', '.join(sorted(fields))}."
        )
    required = [
        f.name
        for f in fields.values()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in values]
    if missing:
        raise ConfigError(f"{where}: `{missing[0]}` is missing.")
    hints = get_type_hints(kind)
    converted = {
        key: _convert(hints[key], value, f"{where}: `{key}`") for key, value in values.items()
    }
    try:
        return kind(**converted)
    except ConfigError as error:  # of the fields together, in `__post_init__`
        raise ConfigError(f"{where}: {error}") from error


def load_config(kind: type[Config], path: str | Path) -> Config:
    """A configuration of dataclass `kind` from a YAML file.

    Raises:
        ConfigError: naming the file and the key.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    return from_dict(kind, {} if values is None else values, str(path))


def to_dict(config: Any) -> dict[str, Any]:
    """The plain mapping of a configuration, ready for YAML."""
    plain = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            value = to_dict(value)
        plain[f.name] = list(value) if isinstance(value, tuple) else value
    return plain


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        for option in get_args(hint):
            try:
                return _convert(option, value, where)
            except ConfigError:
                continue
        raise ConfigError(f"{where} must be {hint}, but is {value!r} instead.")
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} must be a list, but is {value!r} instead.")
        return tuple(_convert(get_args(hint)[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is type(None) and value is None:
        return None
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(
            f"{where} must be {getattr(hint, '__name__', hint)}, but is {value!r} instead."
        )
    return value
