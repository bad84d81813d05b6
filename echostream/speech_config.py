"""The configurations of the parts that speak: unit decoder, refiner and vocoder."""

from __future__ import annotations

from dataclasses import dataclass

from echostream.config import ConfigError, check_ranges
from echostream.ranges import make_plain

OWN_UNITS = "logmel80"  # the features of `echostream units learn`
FRAME, CTC = "frame", "ctc"

# Least and most, of the fields of all parts.
_RANGES = {
    "vocab_size": (2, 1_000_000),
    "num_units": (1, 100_000),
    "num_classes": (2, 100_001),
    "dim": (1, 8192),
    "num_heads": (1, 512),
    "ffn_dim": (1, 65536),
    "num_layers": (0, 64),
    "kernel_size": (1, 1023),
    "num_bands": (2, 512),
    "num_harmonics": (1, 512),
    "word_layers": (1, 64),
    "left_words": (0, 8192),
    "frame_dim": (1, 8192),
    "frame_layers": (1, 64),
    "max_duration": (1, 4096),
    "max_tokens": (1, 4096),
    "unit_upsample": (1, 1024),
    "window": (1, 4096),
}


@dataclass(frozen=True)
class _PartConfig:
    """Checks each field that has a range."""

    def __post_init__(self) -> None:
        make_plain(self)
        check_ranges(self, {n: (*_RANGES[n], 1) for n in _RANGES if hasattr(self, n)})
        dim, num_heads = getattr(self, "dim", 0), getattr(self, "num_heads", 1)
        if dim % num_heads:
            raise ConfigError(
                f"`dim` must be a multiple of `num_heads`, which is {num_heads}, but is {dim} "
                "instead."
            )


@dataclass(frozen=True)
class VocoderConfig(_PartConfig):
    """`config.yaml` of a vocoder folder; the fields are the arguments of `UnitVocoder`."""

    num_units: int
    dim: int = 192
    ffn_dim: int = 384
    num_layers: int = 6
    kernel_size: int = 7  # units, of each convolution
    num_bands: int = 64  # of the two spectral envelopes
    num_harmonics: int = 80
    silence_unit: int = 0  # the unit of a pause
    units: str = OWN_UNITS  # their unit model, as of the unit decoder

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, {"silence_unit": (0, self.num_units - 1, 1)})


@dataclass(frozen=True)
class UnitDecoderConfig(_PartConfig):
    """A unit decoder of one of two kinds; see `UnitDecoder` and `CtcUnitDecoder`."""

    vocab_size: int  # target tokens of the text model
    num_units: int
    kind: str = FRAME  # a unit for each 20 ms of predicted durations, or ctc
    dim: int = 192
    num_heads: int = 4
    ffn_dim: int = 512
    word_layers: int = 2
    left_words: int = 8
    frame_dim: int = 256
    frame_layers: int = 5
    kernel_size: int = 7
    max_duration: int = 100  # frames of 20 ms of a word; of the kind frame
    unit_upsample: int = 25  # positions of the alignment for each token; of the kind ctc
    max_tokens: int = 16  # of a word; those after them share the position of the last
    units: str = OWN_UNITS  # their unit model: the features of ours, or the name of a foreign one

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in (FRAME, CTC):
            raise ConfigError(f"`kind` must be {FRAME} or {CTC}, but is {self.kind[:80]!r}.")

    @property
    def num_classes(self) -> int:
        """The units, and with the kind ctc the blank after them."""
        return self.num_units + (self.kind == CTC)

    @property
    def max_positions(self) -> int:
        """The most frames, or positions of the alignment, of a word."""
        return self.max_duration if self.kind == FRAME else self.unit_upsample * self.max_tokens


@dataclass(frozen=True)
class RefinerConfig(_PartConfig):
    """The unit refiner; see `UnitRefiner`."""

    num_classes: int  # of the unit decoder
    frame_dim: int  # of the unit decoder
    dim: int = 192
    num_heads: int = 4
    ffn_dim: int = 512
    num_layers: int = 4
    window: int = 16  # spoken units that the span attends to
