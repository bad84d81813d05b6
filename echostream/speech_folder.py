"""The parts that speak, on disk: a folder each with `config.yaml` and `model.safetensors`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from torch import nn

from echostream.backends import protocol
from echostream.config import load_config, to_dict
from echostream.device import adapt_to_fork, resolve_device
from echostream.files import missing_file, replacing, write_whole
from echostream.models.refiner import UnitRefiner
from echostream.models.unit_decoder import UnitDecoder
from echostream.models.vocoder import UnitVocoder
from echostream.speech_config import RefinerConfig, UnitDecoderConfig, VocoderConfig
from echostream.weights_file import (
    CONFIG,
    WEIGHTS,
    ModelFolderError,
    building,
    read_weights,
    save_weights,
)

README = "README.md"
UNIT_DECODER, REFINER, VOCODER = "unit_decoder", "refiner", "vocoder"  # folders in that of a model

SpeechPart = UnitDecoder | UnitRefiner | UnitVocoder

Config = TypeVar("Config")
Part = TypeVar("Part", bound=nn.Module)


@dataclass(frozen=True)
class SpeechModel:
    """The parts of a model that speak; `silence_unit` is spoken before a gap."""

    unit_decoder: protocol.UnitDecoder
    vocoder: protocol.Vocoder[Any]
    silence_unit: int
    refiner: protocol.UnitRefiner | None = None


def save_part(path: str | Path, part: SpeechPart, readme: str = "") -> None:
    """Writes the folder of a part, the weights last.

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


def load_refiner(path: str | Path, device: str | torch.device = "cpu") -> UnitRefiner:
    """The refiner of a folder, in evaluation mode on `device`; errors as `load_vocoder`."""
    return _load(Path(path), device, RefinerConfig, UnitRefiner, "refiner")


def load_speech(folder: Path, vocab_size: int) -> SpeechModel | None:
    """The parts in the folder of a model with `vocab_size` target tokens; None if it has none.

    Raises:
        ModelFolderError: as `load_vocoder`; if the unit decoder or the vocoder is missing, or the
            parts do not fit.
        ConfigError: as `load_vocoder`.
    """
    if not any((folder / name).exists() for name in (UNIT_DECODER, REFINER, VOCODER)):
        return None
    unit_decoder = load_unit_decoder(folder / UNIT_DECODER)
    vocoder = load_vocoder(folder / VOCODER)
    config = unit_decoder.config
    fits = [
        (UNIT_DECODER, "vocab_size", config.vocab_size, vocab_size),
        (UNIT_DECODER, "num_units", config.num_units, vocoder.config.num_units),
    ]
    refiner = None
    if (folder / REFINER).exists():
        refiner = load_refiner(folder / REFINER)
        fits += [
            (REFINER, name, getattr(refiner.config, name), getattr(config, name))
            for name in ("num_classes", "frame_dim")
        ]
    for part, name, found, wanted in fits:
        if found != wanted:
            raise ModelFolderError(
                f"{folder / part}: `{name}` must be {wanted} in this model, but is {found}."
            )
    return SpeechModel(unit_decoder, vocoder, vocoder.config.silence_unit, refiner)


def _load(
    folder: Path,
    device: str | torch.device,
    kind: type[Config],
    build: Callable[[Config], Part],
    what: str,
) -> Part:
    adapt_to_fork()
    torch_device = resolve_device(device)
    if name := missing_file(folder, CONFIG, WEIGHTS):
        raise ModelFolderError(
            f"{folder} must be the folder of a {what}, with {CONFIG} and {WEIGHTS}, but has no "
            f"file {name}."
        )
    try:
        config = load_config(kind, folder / CONFIG)
    except OSError as error:
        raise ModelFolderError(f"{folder / CONFIG}: {error.strerror}.") from error
    with building(folder):
        part = build(config)
    part.load_state_dict(read_weights(folder / WEIGHTS, part.state_dict()))
    return part.requires_grad_(True).to(torch_device).eval()
