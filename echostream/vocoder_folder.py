"""A unit vocoder on disk: a folder with `config.yaml` and `model.safetensors`."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from echostream.config import load_config, to_dict
from echostream.device import adapt_to_fork, resolve_device
from echostream.files import replacing, write_whole
from echostream.model_folder import (
    CONFIG,
    README,
    WEIGHTS,
    ModelFolderError,
    building,
    read_weights,
    save_weights,
)
from echostream.models.vocoder import UnitVocoder
from echostream.vocoder_config import VocoderConfig


def save_vocoder(path: str | Path, vocoder: UnitVocoder, readme: str = "") -> None:
    """Writes the folder of a vocoder, the weights last; `readme` tells how it was made.

    Raises OSError if a file cannot be written.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(to_dict(vocoder.config), sort_keys=False)
    write_whole(folder / CONFIG, text)
    if readme:
        write_whole(folder / README, readme)
    weights = {key: value.cpu().contiguous() for key, value in vocoder.state_dict().items()}
    with replacing(folder / WEIGHTS) as temporary:
        save_weights(weights, temporary)


def load_vocoder(path: str | Path, device: str | torch.device = "cpu") -> UnitVocoder:
    """The vocoder of a folder, in evaluation mode on `device`.

    Raises:
        ModelFolderError: if the folder or a file is missing, or the weights are damaged, hold NaN
            or are not those of the configuration.
        ConfigError: if `config.yaml` is not YAML, or a key unknown, missing or not allowed.
    """
    adapt_to_fork()
    torch_device = resolve_device(device)
    folder = Path(path)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelFolderError(
                f"{folder} must be the folder of a vocoder, with {CONFIG} and {WEIGHTS}, but has "
                f"no file {name}."
            )
    try:
        config = load_config(VocoderConfig, folder / CONFIG)
    except OSError as error:
        raise ModelFolderError(f"{folder / CONFIG}: {error.strerror}.") from error
    with building(folder):
        vocoder = UnitVocoder(config)
    vocoder.load_state_dict(read_weights(folder / WEIGHTS, vocoder.state_dict()))
    return vocoder.requires_grad_(True).to(torch_device).eval()
