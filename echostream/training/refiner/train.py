"""The training run of a unit refiner."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from echostream.models.refiner import UnitRefiner
from echostream.models.unit_decoder import UnitDecoder, UnitOutput
from echostream.modules.masks import length_mask
from echostream.session_config import MAX_REFINE_STEPS
from echostream.speech_config import CTC
from echostream.speech_folder import load_unit_decoder
from echostream.streaming.clock import UNIT_MS
from echostream.training.part import PartRun, Scores, run_folder
from echostream.training.refiner.config import RefinerTrainConfig
from echostream.training.refiner.span import Spans, draw_spans, make_drafts
from echostream.training.unit_decoder.data import UnitData, read_unit_data
from echostream.training.unit_decoder.example import NO_UNIT, UnitBatch, collate_units
from echostream.training.unit_decoder.loss import soft_cross_entropy, soft_targets, with_blank

_README = """\
# Unit refiner

{parameters:.1f} M parameters, for the unit decoder of {decoder}. Trained with `echostream train`
(`kind: refiner`) for {steps} steps on {examples} texts of {table}. On {dev_examples} other texts:
{scores}.
"""
_STEPS = (0, 1, 2, 4, 8)  # the numbers of rounds that are scored


def train_refiner(config: RefinerTrainConfig) -> Path:
    """Trains, or resumes a run; returns the folder of the refiner, `<output>/model`.

    The unit decoder does not change. Batches depend on the seed and the step alone.

    Raises:
        ConfigError: if the folder holds a run of another configuration, or a value is not possible.
        ModelFolderError: if the folder of the unit decoder cannot be used.
        TableError: naming the line of a table.
        BlockingIOError: if another process trains in the folder.
        FloatingPointError: if a gradient is not finite.
    """
    decoder = load_unit_decoder(config.unit_decoder).requires_grad_(False)
    data = read_unit_data(config.data, decoder.config)
    with run_folder(config, config.data.seed) as folder:
        network = dataclasses.replace(
            config.network,
            num_classes=decoder.config.num_classes,
            frame_dim=decoder.config.frame_dim,
        )
        targets = torch.eye(data.network.num_units)
        if data.centroids is not None:
            targets = soft_targets(data.centroids, config.span.near_units)
        if data.network.kind == CTC:
            targets = with_blank(targets)
        task = RefinerTask(config, data, decoder, UnitRefiner(network), targets)
        return PartRun(config, folder, task).complete()


class RefinerScores(NamedTuple):
    """Share of the frames on which the refiner is right after so many rounds."""

    accuracy_0: float
    accuracy_1: float
    accuracy_2: float
    accuracy_4: float
    accuracy_8: float

    def __str__(self) -> str:
        shares = ", ".join(f"{share:.1%}" for share in self)
        return f"{shares} of the frames right after {', '.join(map(str, _STEPS))} rounds"


@dataclass(frozen=True)
class RefinerTask:
    """The training of a refiner on the drafts of a unit decoder."""

    config: RefinerTrainConfig
    data: UnitData
    decoder: UnitDecoder
    part: UnitRefiner
    targets: Tensor  # (C, C), see `soft_targets`

    def draw(self, step: int) -> Spans:
        """Words of texts, by the seed and the step."""
        seed = self.config.data.seed
        rng = np.random.default_rng((seed, step))
        size = min(self.config.data.batch_size, len(self.data.train))
        rows = rng.choice(len(self.data.train), size, replace=False)
        batch = collate_units([self.data.train[row] for row in rows], self.data.network)
        generator = torch.Generator().manual_seed(seed * 10**9 + step)
        drafts = make_drafts(self.decoder, batch)
        window = self.part.config.window
        return draw_spans(drafts, self.config.span, window, self.part.mask_id, generator)

    def losses(self, spans: Spans, step: int) -> dict[str, Tensor]:
        """Cross-entropy of the classes that are masked or wrong."""
        logits = self.part(spans.classes, spans.frames, spans.valid, self.part.config.window)
        return {"loss": soft_cross_entropy(logits, spans.wanted, self.targets)}

    def seconds(self, spans: Spans) -> float:
        """Speech in a batch."""
        return int((spans.wanted != NO_UNIT).sum()) * UNIT_MS / 1000

    @torch.inference_mode()
    def validate(self) -> RefinerScores:
        """The scores on held-out texts, word by word."""
        right, total = dict.fromkeys(_STEPS, 0), 0
        size = self.config.data.batch_size
        for start in range(0, len(self.data.dev), size):
            batch = collate_units(self.data.dev[start : start + size], self.data.network)
            wanted = make_drafts(self.decoder, batch).wanted
            total += int((wanted != NO_UNIT).sum())
            for steps in _STEPS:
                found = refine_texts(self.decoder, self.part, batch, steps)
                right[steps] += int((found == wanted).sum())
        return RefinerScores(*(right[steps] / total for steps in _STEPS))

    def readme(self, scores: Scores | None) -> str:
        """How it was trained."""
        return _README.format(
            parameters=sum(each.numel() for each in self.part.parameters()) / 1e6,
            decoder=Path(self.config.unit_decoder).name,
            steps=self.config.steps,
            examples=len(self.data.train),
            table=Path(self.config.data.train_tsv).name,
            dev_examples=len(self.data.dev),
            scores=scores,
        )


def refine_texts(
    decoder: UnitDecoder, refiner: UnitRefiner, batch: UnitBatch, num_steps: int
) -> Tensor:
    """The classes `(B, T)` of the frames of whole texts, refined word by word; -2 is padding.

    The frames are at the durations of the speech, or the positions of the alignment.
    """
    assert 0 <= num_steps <= MAX_REFINE_STEPS
    states = decoder.encode(batch.words, batch.following)
    lengths = batch.positions if decoder.config.kind == CTC else batch.durations
    whole = decoder(states, lengths)
    starts = lengths.cumsum(1) - lengths
    found = torch.full(whole.logits.shape[:2], -2)
    state, never = refiner.init_state(len(lengths)), torch.zeros(len(lengths), dtype=torch.bool)
    for word in range(lengths.shape[1]):
        counts, size = lengths[:, word], int(lengths[:, word].max())
        index = (starts[:, word, None] + torch.arange(size)).clamp(max=found.shape[1] - 1)
        rows = torch.arange(len(index))[:, None]
        output = UnitOutput(whole.logits[rows, index], whole.frames[rows, index], counts)
        classes, state = refiner.step(output, never, num_steps, state)
        here = length_mask(counts, size)
        found[rows.expand_as(index)[here], index[here]] = classes[here]
    return found
