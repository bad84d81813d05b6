"""The configuration of the training of a vocoder, `kind: vocoder`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from echostream.config import ConfigError
from echostream.ranges import make_plain
from echostream.speech_config import VocoderConfig
from echostream.training.check_values import MANY, check_values
from echostream.training.part_config import AdamWConfig, PartTrainConfig

_OPTIM = AdamWConfig(lr=1e-3, warmup_steps=50, weight_decay=0.0, beta1=0.8, beta2=0.99)


@dataclass(frozen=True)
class VocoderDataConfig:
    """The recordings, and the part of them in a batch."""

    units: str  # folder of the unit model
    train_tsv: str  # table whose column tgt_audio names recordings
    max_utterances: int = 2000  # of a larger table, the first ones
    batch_size: int = 4
    segment_units: int = 44  # of 20 ms
    context_units: int = 14  # at the start of a segment, whose samples have no loss
    lowest_hz: float = 60.0  # bounds of the pitch of the voice
    highest_hz: float = 400.0
    seed: int = 1

    def __post_init__(self) -> None:
        make_plain(self)
        check_values(self, "data.", 1, "max_utterances", most=MANY)
        check_values(self, "data.", 1, "batch_size", most=4096)
        check_values(self, "data.", 4, "segment_units", most=10_000)
        check_values(self, "data.", 0, "context_units", most=self.segment_units - 1)
        check_values(self, "data.", 0, "seed", most=10**12)
        if not 50 <= self.lowest_hz < self.highest_hz <= 400:
            raise ConfigError(
                "`data.lowest_hz` and `data.highest_hz` must be 50 to 400, the lower one first, "
                f"but are {self.lowest_hz} and {self.highest_hz} instead."
            )


@dataclass(frozen=True)
class VocoderLossConfig:
    """Weights of the loss."""

    pitch: float = 1.0

    def __post_init__(self) -> None:
        check_values(self, "loss.", 0, "pitch", most=MANY)


@dataclass(frozen=True, kw_only=True)
class VocoderTrainConfig(PartTrainConfig):
    """A training run of a vocoder; `network.num_units` is that of the unit model."""

    KIND: ClassVar[str] = "vocoder"

    data: VocoderDataConfig
    kind: str = KIND
    network: VocoderConfig = field(default_factory=lambda: VocoderConfig(1000))
    loss: VocoderLossConfig = field(default_factory=VocoderLossConfig)
    optim: AdamWConfig = _OPTIM
