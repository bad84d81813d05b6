"""Configurations: frozen dataclasses, read from YAML. An unknown key is an error."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from echostream.ranges import check_whole, make_plain, plain, shown
from echostream.safe_yaml import YamlError, read_yaml

Config = TypeVar("Config")

BLANK_ID = 0  # the CTC blank, in every vocabulary
EMISSION_UNITS = ("word", "char")  # of the written text: see echostream/text/detokenizer.py


class ConfigError(ValueError):
    """A configuration with a key or a value that is not allowed."""


# Least, most, and the number of which it must be a multiple. The most is far beyond any use: it
# keeps a typing error from allocating all memory.
_ENCODER_RANGES = {
    "input_dim": (1, 1024, 1),
    "embed_dim": (1, 8192, 1),
    "num_heads": (1, 512, 1),
    "ffn_dim": (2, 65536, 2),
    "memory_size": (1, 1024, 1),
    "conv_kernel": (1, 1023, 1),
    "left_context": (8, 8192, 8),  # whole groups of the first stack
}
_NETWORK_RANGES = {
    "source_vocab_size": (2, 1_000_000, 1),
    "target_vocab_size": (2, 1_000_000, 1),
    "st_layers": (0, 64, 1),
    "st_ffn_dim": (1, 65536, 1),
    "st_left_context": (0, 8192, 4),  # whole groups at 25 Hz
    "decoder_layers": (0, 64, 1),
    "decoder_ffn_dim": (1, 65536, 1),
    "decoder_left_tokens": (0, 8192, 1),
    "decoder_window": (4, 65536, 4),
    "tail_ms": (0, 60_000, 10),
}
_NUM_STACKS, _MAX_LAYERS = 6, 64


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
    left_context: int = 64  # past frames, at its own rate, that each layer attends to

    def __post_init__(self) -> None:
        make_plain(self)
        check_ranges(self, _ENCODER_RANGES)
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"`embed_dim` must be a multiple of `num_heads`, which is {self.num_heads}, "
                f"but is {self.embed_dim} instead."
            )
        layers = self.num_layers_per_stack
        each = layers if isinstance(layers, tuple) else (layers,) * _NUM_STACKS
        if len(each) != _NUM_STACKS or not all(
            type(number) is int and 1 <= number <= _MAX_LAYERS for number in each
        ):
            raise ConfigError(
                f"`num_layers_per_stack` must be a whole number from 1 to {_MAX_LAYERS}, or a list "
                f"of {_NUM_STACKS} of them, but is {shown(layers)} instead."
            )


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
    decoder_left_tokens: int = 64  # target tokens before the last one that a token attends to
    decoder_window: int = 128  # frames at 25 Hz that a token attends to; older ones as summaries
    tokenizer_normalization: str = "nmt_nfkc"  # of SentencePiece, in both tokenizers
    max_future_frames: tuple[int, ...] = (0, 1, 2)  # look-aheads L of its training
    tail_ms: int = 640  # silence after the end of the source, for the last words
    source_emission_unit: str = "word"  # char for a language without spaces between words
    target_emission_unit: str = "word"

    def __post_init__(self) -> None:
        make_plain(self)
        check_ranges(self, _NETWORK_RANGES)
        if not isinstance(self.encoder, EncoderConfig):
            raise ConfigError(f"`encoder` must be an EncoderConfig, but is {shown(self.encoder)}.")
        look_aheads = self.max_future_frames
        if (
            not isinstance(look_aheads, tuple)
            or not look_aheads
            or any(type(look_ahead) is not int for look_ahead in look_aheads)
            or not set(look_aheads) <= {0, 1, 2}
            or len(set(look_aheads)) < len(look_aheads)
        ):
            raise ConfigError(
                f"`max_future_frames` must be some of 0, 1 and 2, each of them once, "
                f"but is {shown(look_aheads)} instead."
            )
        check_emission_unit("source_emission_unit", self.source_emission_unit)
        check_emission_unit("target_emission_unit", self.target_emission_unit)


def check_ranges(config: object, ranges: Mapping[str, tuple[int, int, int]]) -> None:
    for name, (least, most, multiple_of) in ranges.items():
        try:
            check_whole(name, getattr(config, name), least, most, multiple_of)
        except ValueError as error:
            raise ConfigError(str(error)) from error


def check_emission_unit(key: str, unit: str) -> None:
    """Raises `ConfigError` naming `key` if `unit` is not one of `EMISSION_UNITS`."""
    if unit not in EMISSION_UNITS:
        raise ConfigError(
            f"`{key}` must be one of {', '.join(EMISSION_UNITS)}, but is {unit!r} instead."
        )


def from_dict(
    kind: type[Config],
    values: Mapping[str, Any],
    where: str = "config",
    default: Config | None = None,
) -> Config:
    """A configuration of dataclass `kind` from a mapping of its fields.

    Keys that are not in `values` are those of `default`; without it, the defaults of `kind`. A key
    of `kind.FORMER_KEYS`, as `{"old.path": "new.path"}`, is read as the key that replaced it.

    Raises:
        ConfigError: naming `where` and the key, if a key is unknown or missing, or its value is
            not allowed.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} must be a mapping of keys, but is {shown(values)} instead.")
    if former := vars(kind).get("FORMER_KEYS"):
        values = _with_new_keys(values, former, where)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields), key=str)
    if unknown:
        raise ConfigError(
            f"{where}: `{str(unknown[0])[:80]}` is not a key; "
            f"the keys are {', '.join(sorted(fields))}."
        )
    defaults = {name: _default_of(f, default) for name, f in fields.items()}
    missing = [
        name
        for name, value in defaults.items()
        if value is dataclasses.MISSING and name not in values
    ]
    if missing:
        raise ConfigError(f"{where}: `{missing[0]}` is missing.")
    hints = get_type_hints(kind)
    given = {
        key: _convert(hints[key], value, f"{where}: `{key}`", defaults[key])
        for key, value in values.items()
    }
    try:
        return kind(**{**defaults, **given})
    except ConfigError as error:  # of the fields together, in `__post_init__`
        raise ConfigError(f"{where}: {error}") from error


def _default_of(f: dataclasses.Field[Any], default: object) -> Any:
    """The value of a field that is not given, `dataclasses.MISSING` if it must be."""
    if default is not None:
        return getattr(default, f.name)
    return f.default if f.default_factory is dataclasses.MISSING else f.default_factory()


def _with_new_keys(values: Mapping[str, Any], former: Mapping[str, str], where: str) -> Any:
    """A copy in which the value of each former key stands at the path of its new key."""
    copy = _plain_copy(values)
    for old, new in former.items():
        (source, old_key), (target, new_key) = _parent(copy, old), _parent(copy, new)
        if source is None or target is None or old_key not in source:
            continue
        if new_key in target:
            raise ConfigError(f"{where}: `{old}` is the former name of `{new}`: give one of them.")
        target[new_key] = source.pop(old_key)
    return copy


def _plain_copy(value: Any) -> Any:
    return {k: _plain_copy(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _parent(values: dict[str, Any], path: str) -> tuple[dict[str, Any] | None, str]:
    """The mapping that holds the last key of a dotted path, and that key; None if it is no mapping.

    A section that is not there is added, empty.
    """
    *sections, key = path.split(".")
    for name in sections:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            return None, key
    return values, key


def load_config(kind: type[Config], path: str | Path) -> Config:
    """A configuration of dataclass `kind` from a YAML file.

    Raises:
        OSError: if the file cannot be read.
        ConfigError: naming the file and the key, or the line that is not YAML.
    """
    return from_dict(kind, read_values(path), str(path))


def read_values(path: str | Path) -> Any:
    """The values of a YAML file; an empty one is an empty mapping. Errors as `load_config`."""
    try:
        values = read_yaml(path)
    except YamlError as error:
        raise ConfigError(str(error)) from error
    return {} if values is None else values


def to_dict(config: Any) -> dict[str, Any]:
    """The plain mapping of a configuration, ready for YAML."""
    plain = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            value = to_dict(value)
        plain[f.name] = list(value) if isinstance(value, tuple) else value
    return plain


def _convert(hint: Any, value: Any, where: str, default: Any = None) -> Any:
    value = plain(value)
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        for option in get_args(hint):
            try:
                return _convert(option, value, where)
            except ConfigError:
                continue
        raise ConfigError(f"{where} must be {hint}, but is {shown(value)} instead.")
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, where, default if isinstance(default, hint) else None)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} must be a list, but is {shown(value)} instead.")
        return tuple(_convert(get_args(hint)[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} must be finite, but is {value} instead.")
    if hint is type(None) and value is None:
        return None
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(
            f"{where} must be {getattr(hint, '__name__', hint)}, but is {shown(value)} instead."
        )
    return value
