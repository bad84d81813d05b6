"""What a training configuration trains: its key `kind`, the translation model without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from echostream.config import ConfigError, from_dict
from echostream.ranges import shown
from echostream.safe_yaml import YamlError, read_yaml
from echostream.training.config import TrainConfig
from echostream.training.train import train
from echostream.training.unit_decoder.config import UnitTrainConfig
from echostream.training.unit_decoder.train import train_unit_decoder
from echostream.training.vocoder.config import VocoderTrainConfig
from echostream.training.vocoder.train import train_vocoder

RunConfig = TrainConfig | VocoderTrainConfig | UnitTrainConfig

_TRANSLATION = ""
KINDS: dict[str, tuple[type[Any], Callable[[Any], Path]]] = {
    _TRANSLATION: (TrainConfig, train),
    "vocoder": (VocoderTrainConfig, train_vocoder),
    "unit_decoder": (UnitTrainConfig, train_unit_decoder),
}


def load_run_config(path: str | Path) -> RunConfig:
    """The configuration of a run from a YAML file, of the class that its `kind` names.

    Raises:
        OSError: if the file cannot be read.
        ConfigError: naming the file and the key, or the line that is not YAML.
    """
    try:
        values = read_yaml(path)
    except YamlError as error:
        raise ConfigError(str(error)) from error
    values = {} if values is None else values
    kind = values.get("kind", _TRANSLATION) if isinstance(values, Mapping) else _TRANSLATION
    if not isinstance(kind, str) or kind not in KINDS or (not kind and "kind" in values):
        names = ", ".join(name for name in KINDS if name)
        raise ConfigError(
            f"{path}: `kind` must be one of {names}, or absent for a translation model, but is "
            f"{shown(kind)} instead."
        )
    config: RunConfig = from_dict(KINDS[kind][0], values, str(path))
    return config


def run_training(config: RunConfig) -> Path:
    """Trains, or resumes a run; returns the folder of the model."""
    trains = {kind: function for kind, function in KINDS.values()}
    return trains[type(config)](config)
