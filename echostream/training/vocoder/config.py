"""The configuration of the training of a vocoder, `kind: vocoder`."""

from __future__ import annotations

from dataclasses import dataclass, field

from echostream.config import ConfigError
from echostream.ranges import check_whole
from echostream.speech_config import VocoderConfig

KIND = "vocoder"


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
        _check("data.max_utterances", self.max_utterances, 1, 10**9)
        _check("data.batch_size", self.batch_size, 1, 4096)
        _check("data.segment_units", self.segment_units, 4, 10_000)
        _check("data.context_units", self.context_units, 0, self.segment_units - 1)
        _check("data.seed", self.seed, 0, 10**12)
        if not 50 <= self.lowest_hz < self.highest_hz <= 400:
            raise ConfigError(
                "`data.lowest_hz` and `data.highest_hz` must be 50 to 400, the lower one first, "
                f"but are {self.lowest_hz} and {self.highest_hz} instead."
            )


@dataclass(frozen=True)
class VocoderOptimConfig:
    """AdamW with a linear warm-up and a cosine decay to zero."""

    lr: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.0
    clip_norm: float = 2.0
    pitch_weight: float = 1.0  # of the pitch in the loss

    def __post_init__(self) -> None:
        _check("optim.warmup_steps", self.warmup_steps, 0, 10**9)
        for name in ("lr", "weight_decay", "clip_norm", "pitch_weight"):
            value = getattr(self, name)
            if not 0 <= value < float("inf") or (name == "clip_norm" and not value):
                raise ConfigError(f"`optim.{name}` must be positive, but is {value} instead.")


@dataclass(frozen=True)
class VocoderTrainConfig:
    """A training run of a vocoder; `network.num_units` is that of the unit model."""

    output: str
    steps: int
    data: VocoderDataConfig
    kind: str = KIND
    network: VocoderConfig = field(default_factory=lambda: VocoderConfig(1000))
    optim: VocoderOptimConfig = field(default_factory=VocoderOptimConfig)
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
