"""The configuration of the training of a unit refiner, `kind: refiner`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from echostream.ranges import make_plain
from echostream.speech_config import RefinerConfig
from echostream.training.check_values import check_values
from echostream.training.part_config import PartTrainConfig, UnitDataConfig


@dataclass(frozen=True)
class SpanConfig:
    """What a refiner is shown of the words that it learns to complete."""

    words: int = 2  # of each text in a batch
    drafts: float = 0.5  # share of the spans whose visible classes are the unit decoder's own
    errors: float = 0.2  # share of the visible classes of the other spans that are its own
    near_units: float = 0.5  # as `loss.near_units` of a unit decoder

    def __post_init__(self) -> None:
        make_plain(self)
        check_values(self, "span.", 1, "words", most=1000)
        check_values(self, "span.", 0, "drafts", "errors", "near_units", most=1)


@dataclass(frozen=True, kw_only=True)
class RefinerTrainConfig(PartTrainConfig):
    """A training run of a refiner, whose `network` gets the sizes of the unit decoder."""

    KIND: ClassVar[str] = "refiner"

    data: UnitDataConfig
    unit_decoder: str  # folder
    kind: str = KIND
    network: RefinerConfig = field(default_factory=lambda: RefinerConfig(2, 1))
    span: SpanConfig = field(default_factory=SpanConfig)
