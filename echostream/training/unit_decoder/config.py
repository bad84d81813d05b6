"""The configuration of the training of a unit decoder, `kind: unit_decoder`."""

from __future__ import annotations

from dataclasses import dataclass, field

from echostream.config import ConfigError
from echostream.ranges import check_whole
from echostream.speech_config import UnitDecoderConfig

KIND = "unit_decoder"


@dataclass(frozen=True)
class UnitDataConfig:
    """The tables of `echostream units extract`, with the units and the ends of the words."""

    train_tsv: str
    dev_tsv: str
    units: str  # folder of the unit model
    text_model: str  # folder of the model whose target tokenizer divides the words
    batch_size: int = 16  # texts
    seed: int = 1

    def __post_init__(self) -> None:
        _check("data.batch_size", self.batch_size, 1, 4096)
        _check("data.seed", self.seed, 0, 10**12)


@dataclass(frozen=True)
class UnitLossConfig:
    """Weights of the loss."""

    durations: float = 0.2
    near_units: float = 0.5  # share of the target that goes to units that sound like the right one

    def __post_init__(self) -> None:
        _check_share("loss.near_units", self.near_units, 1)
        _check_share("loss.durations", self.durations, 1000)


@dataclass(frozen=True)
class UnitOptimConfig:
    """AdamW with a linear warm-up and a cosine decay to zero."""

    lr: float = 2e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    clip_norm: float = 2.0

    def __post_init__(self) -> None:
        _check("optim.warmup_steps", self.warmup_steps, 0, 10**9)
        for name in ("lr", "weight_decay", "clip_norm"):
            _check_share(f"optim.{name}", getattr(self, name), 1e9)


@dataclass(frozen=True)
class UnitTrainConfig:
    """A training run of a unit decoder.

    `network.vocab_size` and `network.num_units` are those of the text model and the unit model.
    """

    output: str
    steps: int
    data: UnitDataConfig
    kind: str = KIND
    network: UnitDecoderConfig = field(default_factory=lambda: UnitDecoderConfig(2, 2))
    loss: UnitLossConfig = field(default_factory=UnitLossConfig)
    optim: UnitOptimConfig = field(default_factory=UnitOptimConfig)
    checkpoint_steps: int = 200
    keep_checkpoints: int = 1  # the weights of the model are the mean of these
    threads: int = 0  # of PyTorch; 0 leaves their number unchanged

    def __post_init__(self) -> None:
        if self.kind != KIND:
            raise ConfigError(f"`kind` must be {KIND}, but is {self.kind[:80]!r} instead.")
        for name in ("steps", "checkpoint_steps", "keep_checkpoints"):
            _check(name, getattr(self, name), 1, 10**9)
        _check("threads", self.threads, 0, 1024)


def _check(name: str, value: object, least: int, most: int) -> None:
    try:
        check_whole(name, value, least, most)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _check_share(name: str, value: float, most: float) -> None:
    if not 0 <= value <= most:
        raise ConfigError(f"`{name}` must be 0 to {most:g}, but is {value} instead.")
