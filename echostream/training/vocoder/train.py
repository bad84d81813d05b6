"""The training run of a vocoder: a table in closed form, then gradients through the waveform."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from echostream.config import ConfigError
from echostream.data.unit_table import read_unit_table
from echostream.data.units import UnitModel
from echostream.models.vocoder import KNOTS_PER_UNIT, UnitVocoder
from echostream.streaming.clock import UNIT_MS, UNIT_SAMPLES
from echostream.training.part import PartRun, Scores, run_folder
from echostream.training.vocoder.config import VocoderTrainConfig
from echostream.training.vocoder.loss import spectral_loss
from echostream.training.vocoder.segments import Segments, SegmentSampler
from echostream.training.vocoder.targets import FILE, Targets, make_targets

_README = """\
# Unit vocoder

{num_units} units at 50 Hz to 16 kHz speech, {parameters:.1f} M parameters. Trained with
`echostream train` (`kind: vocoder`) for {steps} steps on {seconds:.0f} s of {table}. Unit model:
{units}, SHA-256 of its centroids {digest}.
"""


def train_vocoder(config: VocoderTrainConfig) -> Path:
    """Trains, or resumes a run; returns the folder of the vocoder, `<output>/model`.

    Batches depend on the seed and the step alone, so a resumed run has the weights of one that was
    not stopped.

    Raises:
        ConfigError: if the folder holds a run of another configuration, or a value is not possible.
        BlockingIOError: if another process trains in the folder.
        FloatingPointError: if a gradient is not finite.
    """
    units = UnitModel.load(config.data.units)
    if units.num_units != config.network.num_units:
        raise ConfigError(
            f"`network.num_units` must be {units.num_units}, as in {config.data.units}, but is "
            f"{config.network.num_units} instead."
        )
    table = read_unit_table(config.data.train_tsv)
    with run_folder(config, config.data.seed) as folder:
        if not (folder / FILE).exists():
            make_targets(config, units, table).save(folder / FILE)
        targets = Targets.load(folder / FILE)
        vocoder = new_vocoder(config, units, targets)
        sampler = SegmentSampler(table, targets, config.data)
        seconds = len(targets.units) * UNIT_MS / 1000
        return PartRun(config, folder, VocoderTask(config, vocoder, sampler, seconds)).complete()


def new_vocoder(config: VocoderTrainConfig, units: UnitModel, targets: Targets) -> UnitVocoder:
    """A vocoder with the table of the targets, whose embeddings are like for units that are."""
    network = dataclasses.replace(config.network, silence_unit=units.silence_unit)
    vocoder = UnitVocoder(network)
    centroids = torch.from_numpy(units.centroids)
    centroids = (centroids - centroids.mean(0)) / (centroids.std(0) + 1e-3)
    projection = torch.randn(centroids.shape[1], config.network.dim)
    with torch.no_grad():
        vocoder.table.weight.copy_(torch.from_numpy(targets.table))
        vocoder.embedding.weight.copy_(centroids @ projection / centroids.shape[1] ** 0.5)
    return vocoder


@dataclass(frozen=True)
class VocoderTask:
    """The training of a vocoder on segments of recordings."""

    config: VocoderTrainConfig
    part: UnitVocoder
    sampler: SegmentSampler
    num_seconds: float

    def draw(self, step: int) -> Segments:
        """Segments of the recordings, by the seed and the step."""
        return self.sampler.draw(step)

    def losses(self, batch: Segments, step: int) -> dict[str, Tensor]:
        """The difference of the spectra, and of the pitch."""
        spectral, pitch = losses_of(self.part, batch)
        loss = spectral + self.config.loss.pitch * pitch
        return {"loss": loss, "spectral": spectral, "pitch": pitch}

    def seconds(self, batch: Segments) -> float:
        """Speech in a batch."""
        return batch.units.numel() * UNIT_MS / 1000

    def validate(self) -> None:
        """No scores: the ear or a recogniser judges a vocoder."""

    def readme(self, scores: Scores | None) -> str:
        """How it was trained."""
        config = self.config
        return _README.format(
            num_units=config.network.num_units,
            parameters=sum(each.numel() for each in self.part.parameters()) / 1e6,
            steps=config.steps,
            seconds=self.num_seconds,
            table=Path(config.data.train_tsv).name,
            units=Path(config.data.units).name,
            digest=UnitModel.digest(config.data.units),
        )


def losses_of(vocoder: UnitVocoder, segments: Segments) -> tuple[Tensor, Tensor]:
    """The spectral loss with the pitch of the recording, and that of the predicted pitch.

    No gradient goes through the phase: the oscillators run at the recording's pitch, as the
    spectra would otherwise differ by it alone.
    """
    batch_size, num_units = segments.units.shape
    num_valid = torch.full((batch_size,), num_units)
    state = vocoder.init_state(batch_size)
    knots, _ = vocoder.controls(segments.units, num_valid, state.convolutions)
    given = knots._replace(pitch=segments.pitch)
    samples, _ = vocoder.synthesis.step(given, KNOTS_PER_UNIT * num_valid, state.synthesis)
    counted = segments.counted.repeat_interleave(UNIT_SAMPLES, dim=1)
    samples = torch.where(counted, samples, segments.samples)
    weight = segments.voicing * segments.counted.repeat_interleave(KNOTS_PER_UNIT, dim=1)
    off = (knots.pitch - segments.pitch).abs()
    pitch = (off * weight).sum() / weight.sum().clamp(min=1)
    return spectral_loss(samples, segments.samples), pitch
