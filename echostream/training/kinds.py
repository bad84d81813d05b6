"""What a training configuration trains: its key `kind`, the translation model without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from echostream.config import ConfigError, from_dict, read_values
from echostream.ranges import shown
from echostream.safe_yaml import YamlError, parse_yaml
from echostream.training.config import TrainConfig
from echostream.training.refiner.config import RefinerTrainConfig
from echostream.training.refiner.train import train_refiner
from echostream.training.train import train
from echostream.training.unit_decoder.config import UnitTrainConfig
from echostream.training.unit_decoder.train import train_unit_decoder
from echostream.training.vocoder.config import VocoderTrainConfig
from echostream.training.vocoder.train import train_vocoder

RunConfig = TrainConfig | VocoderTrainConfig | UnitTrainConfig | RefinerTrainConfig

_TRANSLATION = ""
KINDS: dict[str, tuple[type[Any], Callable[[Any], Path]]] = {
    _TRANSLATION: (TrainConfig, train),
    VocoderTrainConfig.KIND: (VocoderTrainConfig, train_vocoder),
    UnitTrainConfig.KIND: (UnitTrainConfig, train_unit_decoder),
    RefinerTrainConfig.KIND: (RefinerTrainConfig, train_refiner),
}


def load_run_config(path: str | Path, changes: Sequence[str] = ()) -> RunConfig:
    """The configuration of a run from a YAML file, of the class that its `kind` names.

    changes: other values of keys, as `loss.st=0`.

    Raises:
        OSError: if the file cannot be read.
        ConfigError: naming the file and the key, the line that is not YAML, or the change.
    """
    values = read_values(path)
    for change in changes:
        _change(values, change)
    kind = values.get("kind", _TRANSLATION) if isinstance(values, Mapping) else _TRANSLATION
    if not isinstance(kind, str) or kind not in KINDS or (not kind and "kind" in values):
        names = ", ".join(name for name in KINDS if name)
        raise ConfigError(
            f"{path}: `kind` must be one of {names}, or absent for a translation model, but is "
            f"{shown(kind)} instead."
        )
    config: RunConfig = from_dict(KINDS[kind][0], values, str(path))
    return config


def _change(values: Any, change: str) -> None:
    """Gives a key, `section.key=value`, another value, which is YAML."""
    names, equals, text = change.partition("=")
    *sections, key = names.split(".")
    for section in sections:
        values = values.setdefault(section, {}) if isinstance(values, dict) else None
    if not equals or not isinstance(values, dict):
        raise ConfigError(f"`--set` must have KEY=VALUE, as loss.st=0, but has {shown(change)}.")
    try:
        values[key] = parse_yaml(text)
    except YamlError as error:
        raise ConfigError(f"`--set {names}`: {error}.") from error


def run_training(config: RunConfig, export_now: bool = False) -> Path:
    """Trains, or resumes a run; returns the folder of the model.

    With `export_now` a run that was stopped becomes a model as it is (`train`).

    Raises:
        ConfigError: for `export_now` of a part that speaks.
    """
    if isinstance(config, TrainConfig):
        return train(config, export_now)
    if export_now:
        raise ConfigError(
            f"only a translation model can be exported before its last step, not a {config.kind}: "
            "lower `steps` to the step of the last checkpoint, and give the command without "
            "`--export-now`."
        )
    trains = {kind: function for kind, function in KINDS.values()}
    return trains[type(config)](config)
