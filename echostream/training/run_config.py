"""The folder of a run belongs to one configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from echostream.config import ConfigError, load_config, to_dict
from echostream.files import remove_unfinished, write_whole
from echostream.training.config import TrainConfig

CONFIG = "train.yaml"


def claim(folder: Path, config: TrainConfig) -> None:
    """Writes the configuration of the run, or refuses a folder that holds another one's.

    `output` may differ: it is the folder itself, which may have been moved. The caller holds the
    lock of the folder: what killed runs left half written is removed.

    Raises:
        ConfigError: naming the first key that differs.
    """
    remove_unfinished(folder)
    path = folder / CONFIG
    if path.exists():
        there, here = (dict(_flatten(to_dict(c))) for c in (load_config(TrainConfig, path), config))
        for key in here:
            if key != "output" and there[key] != here[key]:
                raise ConfigError(
                    f"{path} is of another run: `{key}` is {there[key]!r} there and {here[key]!r} "
                    "here. Give another `output`, or remove the folder."
                )
        return
    write_whole(path, yaml.safe_dump(to_dict(config), sort_keys=False))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
