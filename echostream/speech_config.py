"""The configurations of the parts that speak: unit decoder and vocoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echostream.config import ConfigError
from echostream.ranges import check_whole

OWN_UNITS = "logmel80"  # the features of `echostream units learn`

_VOCODER_RANGES = {
    "num_units": (1, 100_000, 1),
    "dim": (1, 4096, 1),
    "ffn_dim": (1, 16_384, 1),
    "num_layers": (0, 64, 1),
    "kernel_size": (1, 255, 1),
    "num_bands": (2, 512, 1),
    "num_harmonics": (1, 512, 1),
}


@dataclass(frozen=True)
class VocoderConfig:
    """`config.yaml` of a vocoder folder; the fields are the arguments of `UnitVocoder`."""

    num_units: int
    dim: int = 192
    ffn_dim: int = 384
    num_layers: int = 6
    kernel_size: int = 7  # units, of each convolution
    num_bands: int = 64  # of the two spectral envelopes
    num_harmonics: int = 80
    silence_unit: int = 0  # the unit of a pause

    def __post_init__(self) -> None:
        _check_ranges(self, {**_VOCODER_RANGES, "silence_unit": (0, self.num_units - 1, 1)})


_UNIT_DECODER_RANGES = {
    "vocab_size": (2, 1_000_000, 1),
    "num_units": (2, 65536, 1),
    "dim": (1, 8192, 1),
    "num_heads": (1, 512, 1),
    "ffn_dim": (1, 65536, 1),
    "word_layers": (1, 64, 1),
    "left_words": (0, 8192, 1),
    "frame_dim": (1, 8192, 1),
    "frame_layers": (1, 64, 1),
    "kernel_size": (2, 1023, 1),
    "max_duration": (1, 4096, 1),
    "max_tokens": (1, 4096, 1),
}


@dataclass(frozen=True)
class UnitDecoderConfig:
    """The unit decoder; see `UnitDecoder`."""

    vocab_size: int  # target tokens of the text model
    num_units: int
    dim: int = 192
    num_heads: int = 4
    ffn_dim: int = 512
    word_layers: int = 2
    left_words: int = 8
    frame_dim: int = 256
    frame_layers: int = 5
    kernel_size: int = 7
    max_duration: int = 100  # frames of 20 ms of a word
    max_tokens: int = 16  # of a word; those after them share the position of the last
    units: str = OWN_UNITS  # their unit model: the features of ours, or the name of a foreign one

    def __post_init__(self) -> None:
        _check_ranges(self, _UNIT_DECODER_RANGES)
        if self.dim % self.num_heads:
            raise ConfigError(
                f"`dim` must be a multiple of `num_heads`, which is {self.num_heads}, "
                f"but is {self.dim} instead."
            )


_REFINER_RANGES = {
    "num_units": (2, 65536, 1),
    "frame_dim": (1, 8192, 1),
    "dim": (1, 8192, 1),
    "num_heads": (1, 512, 1),
    "ffn_dim": (1, 65536, 1),
    "num_layers": (1, 64, 1),
    "window": (1, 4096, 1),
}


@dataclass(frozen=True)
class RefinerConfig:
    """The unit refiner; see `UnitRefiner`."""

    num_units: int
    frame_dim: int  # of the unit decoder
    dim: int = 192
    num_heads: int = 4
    ffn_dim: int = 512
    num_layers: int = 4
    window: int = 32  # spoken units that the span attends to

    def __post_init__(self) -> None:
        _check_ranges(self, _REFINER_RANGES)
        if self.dim % self.num_heads:
            raise ConfigError(
                f"`dim` must be a multiple of `num_heads`, which is {self.num_heads}, "
                f"but is {self.dim} instead."
            )


def _check_ranges(config: object, ranges: Mapping[str, tuple[int, int, int]]) -> None:
    try:
        for name, (least, most, multiple_of) in ranges.items():
            check_whole(name, getattr(config, name), least, most, multiple_of)
    except ValueError as error:
        raise ConfigError(str(error)) from error
