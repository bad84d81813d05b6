"""A unit decoder and a vocoder small enough for tests, in the folder of a tiny model."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_model import make_model_folder
from torch import nn

from echostream.models.unit_decoder import UnitDecoder
from echostream.models.vocoder import UnitVocoder
from echostream.speech_config import UnitDecoderConfig, VocoderConfig
from echostream.speech_folder import UNIT_DECODER, VOCODER, save_part

NUM_UNITS = 13


def make_speaking_folder(path: Path, decoder_layers: int = 1, vocab_size: int = 24) -> Path:
    """The folder of a tiny model with random weights that speaks."""
    make_model_folder(path, decoder_layers=decoder_layers)
    torch.manual_seed(1)
    decoder = UnitDecoder(
        UnitDecoderConfig(
            vocab_size,
            NUM_UNITS,
            dim=16,
            num_heads=2,
            ffn_dim=16,
            left_words=2,
            frame_dim=16,
            frame_layers=2,
            kernel_size=3,
            max_duration=20,
        )
    )
    for parameter in decoder.parameters():  # such that durations differ
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.5)
    save_part(path / UNIT_DECODER, decoder)
    vocoder = UnitVocoder(
        VocoderConfig(
            NUM_UNITS,
            dim=8,
            ffn_dim=16,
            num_layers=2,
            kernel_size=3,
            num_bands=8,
            num_harmonics=10,
            silence_unit=2,
        )
    )
    nn.init.normal_(vocoder.head.weight, std=0.3)
    save_part(path / VOCODER, vocoder)
    return path
