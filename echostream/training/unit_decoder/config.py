"""The configuration of the training of a unit decoder, `kind: unit_decoder`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from echostream.ranges import make_plain
from echostream.speech_config import UnitDecoderConfig
from echostream.training.check_values import check_values
from echostream.training.part_config import PartTrainConfig, UnitDataConfig


@dataclass(frozen=True)
class UnitLossConfig:
    """Weights of the loss."""

    durations: float = 0.2  # of the kind frame
    near_units: float = 0.5  # share of the target that goes to units that sound like the right one
    # The rest is of the kind ctc: steps of cross-entropy on units spread evenly over the positions
    # of their word, before the CTC loss, and the share of the errors that is shown as a hint.
    aligned_steps: int = 0
    glancing: float = 0.0

    def __post_init__(self) -> None:
        make_plain(self)
        check_values(self, "loss.", 0, "durations", most=1000)
        check_values(self, "loss.", 0, "near_units", "glancing", most=1)
        check_values(self, "loss.", 0, "aligned_steps")


@dataclass(frozen=True, kw_only=True)
class UnitTrainConfig(PartTrainConfig):
    """A training run of a unit decoder.

    `network.vocab_size` and `network.num_units` are those of the text model and the unit model.
    """

    KIND: ClassVar[str] = "unit_decoder"

    data: UnitDataConfig
    kind: str = KIND
    network: UnitDecoderConfig = field(default_factory=lambda: UnitDecoderConfig(2, 2))
    loss: UnitLossConfig = field(default_factory=UnitLossConfig)
    init_from: str | None = None  # folder of a unit decoder of the same sizes
