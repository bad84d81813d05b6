"""The parts that speak, on disk: a folder each with `config.yaml` and `model.safetensors`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from torch import nn

from echostream.backends.protocol import UnitDecoder as UnitDecoderProtocol
from echostream.backends.protocol import Vocoder
from echostream.config import load_config, to_dict
from echostream.device import adapt_to_fork, resolve_device
from echostream.files import replacing, write_whole
from echostream.models.unit_decoder import UnitDecoder
from echostream.models.vocoder import UnitVocoder
from echostream.speech_config import UnitDecoderConfig, VocoderConfig
from echostream.weights_file import (
    CONFIG,
    WEIGHTS,
    ModelFolderError,
    building,
    read_weights,
    save_weights,
)

README = "README.md"
UNIT_DECODER, VOCODER = "unit_decoder", "vocoder"  # folders in that of a model

Config = TypeVar("Config")
Part = TypeVar("Part", bound=nn.Module)


@dataclass(frozen=True)
class SpeechModel:
    """The parts of a model that speak; `silence_unit` is spoken before a gap."""

    unit_decoder: UnitDecoderProtocol
    vocoder: Vocoder[Any]
    silence_unit: int


def save_part(path: str | Path, part: UnitVocoder | UnitDecoder, readme: str = "") -> None:
    """Writes the folder of a vocoder or unit decoder, the weights last.

    `readme` tells how it was made. Raises OSError if a file cannot be written.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / CONFIG, yaml.safe_dump(to_dict(part.config), sort_keys=False))
    if readme:
        write_whole(folder / README, readme)
    weights = {key: value.cpu().contiguous() for key, value in part.state_dict().items()}
    with replacing(folder / WEIGHTS) as temporary:
        save_weights(weights, temporary)


def load_vocoder(path: str | Path, device: str | torch.device = "cpu") -> UnitVocoder:
    """The vocoder of a folder, in evaluation mode on `device`.

    Raises:
        ModelFolderError: if the folder or a file is missing, or the weights are damaged, hold NaN
            or are not those of the configuration.
        ConfigError: if `config.yaml` is not YAML, or a key unknown, missing or not allowed.
    """
    return _load(Path(path), device, VocoderConfig, UnitVocoder, "vocoder")


def load_unit_decoder(path: str | Path, device: str | torch.device = "cpu") -> UnitDecoder:
    """The unit decoder of a folder, in evaluation mode on `device`; errors as `load_vocoder`."""
    return _load(Path(path), device, UnitDecoderConfig, UnitDecoder, "unit decoder")


def load_speech(folder: Path, vocab_size: int) -> SpeechModel | None:
    """The parts in the folder of a model with `vocab_size` target tokens; None if it has none.

    Raises:
        ModelFolderError: as `load_vocoder`; if one of both is missing, or they do not fit.
        ConfigError: as `load_vocoder`.
    """
    there = [name for name in (UNIT_DECODER, VOCODER) if (folder / name).exists()]
    if not there:
        return None
    unit_decoder = load_unit_decoder(folder / UNIT_DECODER)
    vocoder = load_vocoder(folder / VOCODER)
    for name, found, wanted in (
        ("vocab_size", unit_decoder.config.vocab_size, vocab_size),
        ("num_units", unit_decoder.config.num_units, vocoder.config.num_units),
    ):
        if found != wanted:
            raise ModelFolderError(
                f"{folder / UNIT_DECODER}: `{name}` must be {wanted} in this model, but is {found}."
            )
    return SpeechModel(unit_decoder, vocoder, vocoder.config.silence_unit)


def _load(
    folder: Path,
    device: str | torch.device,
    kind: type[Config],
    build: Callable[[Config], Part],
    what: str,
) -> Part:
    adapt_to_fork()
    torch_device = resolve_device(device)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelFolderError(
                f"{folder} must be the folder of a {what}, with {CONFIG} and {WEIGHTS}, but has "
                f"no file {name}."
            )
    try:
        config = load_config(kind, folder / CONFIG)
    except OSError as error:
        raise ModelFolderError(f"{folder / CONFIG}: {error.strerror}.") from error
    with building(folder):
        part = build(config)
    part.load_state_dict(read_weights(folder / WEIGHTS, part.state_dict()))
    return part.requires_grad_(True).to(torch_device).eval()
