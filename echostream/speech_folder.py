"""The parts that speak, on disk: a folder each with `config.yaml` and `model.safetensors`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
from echostream.speech_config import OWN_UNITS, RefinerConfig, UnitDecoderConfig, VocoderConfig
from echostream.weights_file import (
    CONFIG,
    WEIGHTS,
    ModelFolderError,
    building,
    check_graph,
    read_weights,
    save_weights,
)

logger = logging.getLogger(__name__)

README = "README.md"
UNIT_DECODER, REFINER, VOCODER = "unit_decoder", "refiner", "vocoder"  # folders in that of a model

SpeechPart = UnitDecoder | UnitRefiner | UnitVocoder

Config = TypeVar("Config")
Part = TypeVar("Part", bound=nn.Module)


@dataclass(frozen=True)
class SpeechModel:
    """The parts of a model that speak; `silence_unit`, if known, is spoken before a gap.

    A model with the units of another unit model than ours may come without a vocoder.
    """

    unit_decoder: protocol.UnitDecoder
    vocoder: protocol.Vocoder[Any] | None
    silence_unit: int | None
    refiner: protocol.UnitRefiner | None = None

    def to(self, device: str) -> None:
        """Moves the parts to a device; `ValueError` if one does not run there."""
        for part in (self.unit_decoder, self.vocoder, self.refiner):
            if part is not None:
                part.to(device)


def save_part(
    path: str | Path, part: SpeechPart, readme: str = "", half_precision: bool = False
) -> None:
    """Writes the folder of a part, the weights last.

    `readme` tells how it was made. With `half_precision` the weights are rounded to float16, which
    halves the file. Raises OSError if a file cannot be written.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / CONFIG, yaml.safe_dump(to_dict(part.config), sort_keys=False))
    if readme:
        write_whole(folder / README, readme)
    weights = {key: value.cpu().contiguous() for key, value in part.state_dict().items()}
    if half_precision:
        weights = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
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


def load_speech(
    folder: Path,
    vocab_size: int,
    unit_decoder: str | Path | None = None,
    refiner: str | Path | None = None,
    device: str | torch.device = "cpu",
    in_onnx: bool = False,
) -> SpeechModel | None:
    """The parts in the folder of a model with `vocab_size` target tokens; None if it has none.

    `unit_decoder` and `refiner` are folders of other ones than the model's.

    With `in_onnx` ONNX Runtime computes the unit decoder and the vocoder if they have a graph, in
    float32. A model may have been exported before it could speak: PyTorch computes what has none,
    with a warning.

    Raises:
        ModelFolderError: as `load_vocoder`; if the unit decoder is missing, or the vocoder for
            units of our own, or the parts do not fit.
        ConfigError: as `load_vocoder`.
    """
    decoder_folder = Path(unit_decoder or folder / UNIT_DECODER)
    refiner_folder = Path(refiner or folder / REFINER)
    if not any(path.exists() for path in (decoder_folder, refiner_folder, folder / VOCODER)):
        return None
    decoder, vocoder = load_unit_decoder(decoder_folder, device), None
    sizes = decoder.config
    fits = [(decoder_folder, "vocab_size", sizes.vocab_size, vocab_size)]
    if sizes.units == OWN_UNITS or (folder / VOCODER).exists():
        vocoder = load_vocoder(folder / VOCODER, device)
        fits += [
            (decoder_folder, name, getattr(sizes, name), getattr(vocoder.config, name))
            for name in ("num_units", "units")
        ]
    unit_refiner = None
    # The refiner of the model is for the unit decoder of the model.
    if refiner is not None or (unit_decoder is None and refiner_folder.exists()):
        unit_refiner = load_refiner(refiner_folder, device)
        fits += [
            (refiner_folder, name, getattr(unit_refiner.config, name), getattr(sizes, name))
            for name in ("num_classes", "frame_dim")
        ]
    for path, name, found, wanted in fits:
        if found != wanted:
            raise ModelFolderError(
                f"{path}: `{name}` must be {wanted} in this model, but is {found}."
            )
    silence = None if vocoder is None else vocoder.config.silence_unit
    speech = SpeechModel(decoder, vocoder, silence, unit_refiner)
    if not in_onnx:
        return speech
    return _with_graphs(speech, {UNIT_DECODER: decoder_folder, VOCODER: folder / VOCODER})


def _with_graphs(speech: SpeechModel, folders: Mapping[str, Path]) -> SpeechModel:
    """The parts of these folders in ONNX Runtime, as far as they have graphs."""
    from echostream.backends.onnx import STEP, OnnxUnitDecoder, OnnxVocoder  # an extra

    parts: dict[str, Any] = {}
    for name, load in ((UNIT_DECODER, OnnxUnitDecoder), (VOCODER, OnnxVocoder)):
        part, graph = getattr(speech, name), folders[name] / STEP
        if part is None:
            continue
        if graph.is_file():
            check_graph(graph)
            parts[name] = load(graph, part.config)
        else:
            logger.warning(
                "%s lacks %s, which `echostream export` writes with the model: PyTorch computes "
                "this part.",
                *(folders[name], STEP),
            )
    return replace(speech, **parts)


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
    part.load_state_dict(read_weights(folder / WEIGHTS, part.state_dict(), half_precision=True))
    return part.requires_grad_(True).to(torch_device).eval()
