"""The training run of a unit decoder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from echostream.config import ConfigError
from echostream.models.unit_decoder import UnitDecoder
from echostream.speech_config import CTC, FRAME
from echostream.speech_folder import load_unit_decoder
from echostream.streaming.clock import UNIT_MS
from echostream.training.part import PartRun, Scores, run_folder
from echostream.training.unit_decoder.alignment import spread_evenly
from echostream.training.unit_decoder.config import UnitTrainConfig
from echostream.training.unit_decoder.data import UnitData, read_unit_data
from echostream.training.unit_decoder.example import UnitBatch, UnitExample, collate_units
from echostream.training.unit_decoder.loss import (
    aligned_losses,
    ctc_losses,
    frame_losses,
    soft_targets,
    with_blank,
)
from echostream.training.unit_decoder.score import CtcScores, FrameScores, score

_README = """\
# Unit decoder

Words to units, {parameters:.1f} M parameters, of the kind {kind}. Trained with `echostream train`
(`kind: unit_decoder`) for {steps} steps on {examples} texts of {table}. On {dev_examples} other
texts: {scores}. {units}
"""
_FEW = 0.3  # units found per unit of the speech; below it the decoder writes blanks

logger = logging.getLogger(__name__)


def train_unit_decoder(config: UnitTrainConfig) -> Path:
    """Trains, or resumes a run; returns the folder of the unit decoder, `<output>/model`.

    Batches depend on the seed and the step alone, so a resumed run has the weights of one that was
    not stopped.

    Raises:
        ConfigError: if the folder holds a run of another configuration, or a value is not possible.
        TableError: naming the line of a table.
        BlockingIOError: if another process trains in the folder.
        FloatingPointError: if a gradient is not finite.
    """
    data = read_unit_data(config.data, config.network)
    with run_folder(config, config.data.seed) as folder:
        decoder = UnitDecoder(data.network)
        if config.init_from is not None:
            decoder = load_unit_decoder(config.init_from)
            if decoder.config != data.network:
                raise ConfigError(
                    f"`init_from` must be a unit decoder of {data.network}, but {config.init_from} "
                    f"is one of {decoder.config}."
                )
        return PartRun(config, folder, make_task(config, data, decoder)).complete()


class UnitExamples(NamedTuple):
    """A batch and its examples."""

    batch: UnitBatch
    examples: Sequence[UnitExample]


@dataclass(frozen=True)
class UnitTask:
    """The training of a unit decoder on texts with the units of their speech."""

    config: UnitTrainConfig
    data: UnitData
    part: UnitDecoder
    targets: Tensor  # (C, C), see `soft_targets`

    def draw(self, step: int) -> UnitExamples:
        """Texts, by the seed and the step."""
        rng = np.random.default_rng((self.config.data.seed, step))
        size = min(self.config.data.batch_size, len(self.data.train))
        rows = rng.choice(len(self.data.train), size, replace=False)
        examples = [self.data.train[row] for row in rows]
        return UnitExamples(collate_units(examples, self.data.network), examples)

    def losses(self, drawn: UnitExamples, step: int) -> dict[str, Tensor]:
        """The losses of the decoder's kind; of the kind ctc, those of aligned units come first."""
        config = self.config.loss
        if self.data.network.kind == FRAME:
            return frame_losses(self.part, drawn.batch, self.targets, config.durations)
        if step < config.aligned_steps:
            blank = self.part.num_units
            alignment = spread_evenly(drawn.examples, self.data.network, blank)
            return aligned_losses(self.part, drawn.batch, alignment, self.targets)
        generator = torch.Generator().manual_seed(self.config.data.seed * 10**9 + step)
        return ctc_losses(self.part, drawn.batch, config.glancing, generator)

    def seconds(self, drawn: UnitExamples) -> float:
        """Speech in a batch."""
        return int(drawn.batch.durations.sum()) * UNIT_MS / 1000

    def validate(self) -> FrameScores | CtcScores:
        """The scores on held-out texts; a warning if the decoder writes hardly more than blanks."""
        scores = score(self.part, self.data.dev, self.data.centroids)
        if isinstance(scores, CtcScores) and scores.length_ratio < _FEW:
            logger.warning(
                "the unit decoder writes only %.2f units per unit of the speech: its alignments "
                "have collapsed to blanks. Give `loss.aligned_steps` more steps.",
                scores.length_ratio,
            )
        return scores

    def readme(self, scores: Scores | None) -> str:
        """How it was trained."""
        return _README.format(
            parameters=sum(each.numel() for each in self.part.parameters()) / 1e6,
            kind=self.data.network.kind,
            steps=self.config.steps,
            examples=len(self.data.train),
            table=Path(self.config.data.train_tsv).name,
            dev_examples=len(self.data.dev),
            scores=scores,
            units=self.data.described,
        )


def make_task(config: UnitTrainConfig, data: UnitData, decoder: UnitDecoder) -> UnitTask:
    """The task, with units that sound alike as targets where that is known."""
    targets = torch.eye(data.network.num_units)
    if data.centroids is not None:
        targets = soft_targets(data.centroids, config.loss.near_units)
    if data.network.kind == CTC:
        targets = with_blank(targets)
    return UnitTask(config, data, decoder, targets)
