"""A unit decoder and a vocoder small enough for tests, in the folder of a tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from tiny_model import make_model_folder
from torch import nn

from echostream.models.refiner import UnitRefiner
from echostream.models.unit_decoder import UnitDecoder
from echostream.models.vocoder import UnitVocoder
from echostream.speech_config import RefinerConfig, UnitDecoderConfig, VocoderConfig
from echostream.speech_folder import REFINER, UNIT_DECODER, VOCODER, save_part

NUM_UNITS = 13

Part = TypeVar("Part", bound=nn.Module)


def tiny_unit_decoder(vocab_size: int, num_units: int, **changed: Any) -> UnitDecoderConfig:
    """The configuration of a unit decoder."""
    sizes = {"dim": 16, "num_heads": 2, "ffn_dim": 16, "left_words": 2, "frame_dim": 16}
    sizes |= {"frame_layers": 2, "kernel_size": 3, "max_duration": 20, **changed}
    return UnitDecoderConfig(vocab_size, num_units, **sizes)


def make_speaking_folder(
    path: Path, decoder_layers: int = 1, vocab_size: int = 24, **unit_decoder: Any
) -> Path:
    """The folder of a tiny model with random weights that speaks and refines."""
    make_model_folder(path, decoder_layers=decoder_layers)
    return add_speech(path, vocab_size, **unit_decoder)


def add_speech(path: Path, vocab_size: int = 24, **unit_decoder: Any) -> Path:
    """Adds the parts that speak to the folder of a tiny model."""
    torch.manual_seed(1)
    decoder = UnitDecoder(tiny_unit_decoder(vocab_size, NUM_UNITS, **unit_decoder))
    random_weights(decoder)
    save_part(path / UNIT_DECODER, decoder)
    sizes = decoder.config
    refiner = RefinerConfig(sizes.num_classes, sizes.frame_dim, 16, 2, 16, 2, window=5)
    save_part(path / REFINER, random_weights(UnitRefiner(refiner)))
    vocoder = UnitVocoder(VocoderConfig(NUM_UNITS, 8, 16, 2, 3, 8, 10, silence_unit=2))
    nn.init.normal_(vocoder.head.weight, std=0.3)
    save_part(path / VOCODER, vocoder)
    return path


def random_weights(part: Part) -> Part:
    """The part with weights such that durations, and the classes of frames, differ."""
    for parameter in part.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.5)
    return part
