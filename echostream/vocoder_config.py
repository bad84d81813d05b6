"""The configuration of a unit vocoder."""

from __future__ import annotations

from dataclasses import dataclass

from echostream.config import ConfigError
from echostream.ranges import check_whole

_RANGES = {
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
        try:
            for name, (least, most, multiple_of) in _RANGES.items():
                check_whole(name, getattr(self, name), least, most, multiple_of)
            check_whole("silence_unit", self.silence_unit, 0, self.num_units - 1)
        except ValueError as error:
            raise ConfigError(str(error)) from error
